//! How many pods may be taken away at once by those who empty a node.
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{Surroundings, deployment::count, meta};
use mesh_api::{MeshService, MeshServiceSpec, node::BackendKind, service::RolloutType};
use mesh_plan::template::rollout_type;

/// None for a single pod: a budget for it would stop the emptying of its node for good, or do nothing.
pub(super) fn budget(service: &MeshService, around: &Surroundings) -> Option<PodDisruptionBudget> {
    let most = around.autoscaled.unwrap_or(service.spec.replicas);
    (most > 1).then(|| PodDisruptionBudget {
        metadata: meta::meta(service, service.name_any(), meta::labels(service)),
        spec: Some(PodDisruptionBudgetSpec {
            selector: Some(meta::selector(service)),
            max_unavailable: Some(missing(&service.spec)),
            // Pods that are not ready serve nobody; a node must not wait for them.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

/// What may be missing in a rollout, but at least one: with none, a node could never be emptied.
fn missing(spec: &MeshServiceSpec) -> IntOrString {
    let one = IntOrString::Int(1);
    match rollout_type(spec, BackendKind::Kubernetes) {
        RolloutType::Recreate => one,
        RolloutType::RollingUpdate => match count(&spec.rollout.max_unavailable) {
            IntOrString::Int(count) => IntOrString::Int(count.max(1)),
            // Percentages of a budget are rounded up, so only nothing at all is none.
            IntOrString::String(percent) if percent.trim_matches(['0', '%']).is_empty() => one,
            IntOrString::String(percent) => IntOrString::String(percent),
        },
    }
}
