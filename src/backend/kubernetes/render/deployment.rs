//! The Deployment: how many pods, and how they are replaced.
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{Surroundings, meta};
use mesh_api::{
    MeshService, MeshServiceSpec,
    node::BackendKind,
    service::{Rollout, RolloutType},
};
use mesh_plan::{
    template::{rollout_type, serves},
    uptime,
};

pub(super) fn deployment(service: &MeshService, around: &Surroundings, template: PodTemplateSpec) -> Deployment {
    let spec = &service.spec;
    Deployment {
        metadata: meta::meta(service, service.name_any(), meta::labels(service)),
        spec: DeploymentSpec {
            replicas: around.autoscaled.is_none().then_some(spec.replicas),
            selector: meta::selector(service),
            strategy: Some(strategy(spec)),
            progress_deadline_seconds: Some(spec.rollout.progress_deadline_seconds),
            revision_history_limit: Some(spec.rollout.revision_history_limit),
            min_ready_seconds: min_ready_seconds(spec),
            template,
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

/// As on a machine: a pod of which nothing can be asked must have been up for a while before it takes another's place.
fn min_ready_seconds(spec: &MeshServiceSpec) -> Option<i32> {
    let (serves, probed) = (serves(spec), spec.health_path.is_some());
    let minimum = uptime::minimum(serves || probed, spec.readiness_probe.as_ref(), spec.startup_probe.as_ref());
    i32::try_from(minimum.as_secs()).ok().filter(|seconds| *seconds > 0)
}

fn strategy(spec: &MeshServiceSpec) -> DeploymentStrategy {
    let Rollout { max_surge, max_unavailable, .. } = &spec.rollout;
    match rollout_type(spec, BackendKind::Kubernetes) {
        RolloutType::Recreate => DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None },
        RolloutType::RollingUpdate => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(count(max_surge)),
                max_unavailable: Some(count(max_unavailable)),
            }),
        },
    }
}

/// A number that was written as text (`"1"`) is one: a cluster takes text for a percentage only.
pub(super) fn count(value: &IntOrString) -> IntOrString {
    match value {
        IntOrString::String(text) => text.parse().map_or_else(|_| value.clone(), IntOrString::Int),
        IntOrString::Int(_) => value.clone(),
    }
}
