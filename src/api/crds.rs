//! The CustomResourceDefinitions of every kind here, as they stand in `crds/` and as the embedded API serves them.
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{MeshInstance, MeshNode, MeshRouter, MeshService, MeshTask};

/// All of them, in a fixed order.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![MeshService::crd(), MeshInstance::crd(), MeshNode::crd(), MeshRouter::crd(), MeshTask::crd()]
}
