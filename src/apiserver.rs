//! The embedded Kubernetes-compatible API.
pub mod decode;
pub mod managed_fields;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod schema;
pub mod table;
