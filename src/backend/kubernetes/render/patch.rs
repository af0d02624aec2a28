//! `spec.kubernetes.podTemplate`: read, so that nothing of it is lost without a word, and looked at for what would break a promise.
mod promises;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use crate::kubernetes::shape;
use mesh_api::MeshService;
use mesh_plan::validate::{Refusal, invalid};

/// What stands before the paths of its fields.
const FIELD: &str = "spec.kubernetes.podTemplate";

/// What the pods are given beside what the service says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    /// A drain hook.
    pub(super) hook: bool,
    /// Word of the agent, and a token.
    pub(super) door: bool,
}

/// The patch of a service, ready to be merged.
pub(super) fn read(service: &MeshService, given: Given) -> Result<Option<PodTemplateSpec>, Refusal> {
    let Some(value) = service.spec.kubernetes.as_ref().and_then(|kubernetes| kubernetes.pod_template.as_ref()) else { return Ok(None) };
    let patch = typed(&value.0).or_else(|wrong| invalid(format!("{FIELD}{wrong}")))?;
    promises::check(&patch, service, given).or_else(|wrong| invalid(format!("{FIELD}.{wrong}")))?;
    Ok(Some(patch))
}

/// The patch as a pod template. An error is what stands behind the name of the patch: `.spec.x: …`.
fn typed(patch: &Value) -> Result<PodTemplateSpec, String> {
    if !patch.is_object() {
        return Err(": a pod template is a map".to_owned());
    }
    if let Some(path) = shape::null(patch) {
        return Err(format!("{path}: a pod template adds to what is there and cannot take away: leave null out"));
    }
    let (typed, unknown) = shape::typed(patch)?;
    match unknown.first() {
        Some(field) => Err(format!("{field}: a pod template has no such field: look for it with `kubectl explain pod.spec --recursive`")),
        None => Ok(typed),
    }
}
