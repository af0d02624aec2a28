//! A MeshService as Kubernetes' own objects. The cluster runs the pods, so there is no [`super::Backend`] here: what the objects are ([`render`]) and what
//! they say ([`status`]) is pure, and `controller::cluster_service` carries it between them and the API.
pub mod render;
pub mod shape;
pub mod status;
