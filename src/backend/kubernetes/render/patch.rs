//! `spec.kubernetes.podTemplate`: read, so that nothing of it is lost without a word, and looked at for what would break a promise.
mod promises;
mod shape;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use mesh_api::MeshService;
use mesh_plan::validate::{Refusal, invalid};

/// What stands before the paths of its fields.
const FIELD: &str = "spec.kubernetes.podTemplate";

/// The patch of a service, ready to be merged; `hooked` says whether its pods have a drain hook.
pub(super) fn read(service: &MeshService, hooked: bool) -> Result<Option<PodTemplateSpec>, Refusal> {
    let Some(value) = service.spec.kubernetes.as_ref().and_then(|kubernetes| kubernetes.pod_template.as_ref()) else { return Ok(None) };
    let patch = shape::typed(&value.0).or_else(|wrong| invalid(format!("{FIELD}{wrong}")))?;
    promises::check(&patch, service, hooked).or_else(|wrong| invalid(format!("{FIELD}.{wrong}")))?;
    Ok(Some(patch))
}
