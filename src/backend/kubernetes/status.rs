//! The status of a service in a cluster, from its Deployment, pods and endpoints. Pure; `controller::cluster_service` writes it. The words are those of
//! [`mesh_plan::service_status::replicas`], where a pod stands in the place of an instance.
pub mod task;
pub mod trouble;

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition},
    core::v1::Pod,
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;

use mesh_api::{MeshService, MeshServiceStatus, conditions::instance as reason, labels};
use mesh_plan::{
    routes::Claim,
    service_status::replicas::{self, Picture, Replica, Trouble},
    template::serves,
    validate::Refusal,
};

/// Everything the status is made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The service.
    pub service: &'a MeshService,
    /// The revision that its spec asks for; empty if that cannot be told.
    pub revision: &'a str,
    /// Its Deployment, if there is one that is its own.
    pub deployment: Option<&'a Deployment>,
    /// An autoscaler has the Deployment, so its number of replicas is the one that is wanted.
    pub autoscaled: bool,
    /// The pods with the service's label.
    pub pods: &'a [Arc<Pod>],
    /// The slices of the service's Service.
    pub slices: &'a [Arc<EndpointSlice>],
    /// Why nothing is done for it, if so.
    pub refusal: Option<&'a Refusal>,
    /// A claim of its routes that an older service has, and that service.
    pub conflict: Option<(Claim, String)>,
    /// The task that its rollout waits for.
    pub gate: Option<Trouble>,
    /// It works, but not in every way as the spec says.
    pub degraded: Option<Trouble>,
    /// Now.
    pub now: Timestamp,
}

/// The status, and when it may change without anything else changing (the progress deadline).
pub fn status(facts: &Facts<'_>) -> (MeshServiceStatus, Option<SignedDuration>) {
    let announced = announced(facts.slices);
    let (status, deadline) = replicas::status(&Picture {
        service: facts.service,
        revision: facts.revision,
        wanted: usize::try_from(wanted(facts)).unwrap_or(0),
        replicas: facts.pods.iter().filter(|pod| is_alive_or_ending(pod)).map(|pod| replica(facts, &announced, pod)).collect(),
        obstacle: facts.gate.clone().or_else(|| condition(facts, "ReplicaFailure", "True").map(|c| (reason::REPLICA_FAILURE, obstacle(c)))),
        stalled: condition(facts, "Progressing", "False").is_some_and(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded")),
        refusal: facts.refusal,
        conflict: facts.conflict.clone(),
        degraded: facts.degraded.clone(),
        now: facts.now,
    });
    let patience = facts.pods.iter().filter_map(|pod| trouble::patience(pod, facts.now)).min();
    (status, deadline.into_iter().chain(patience).min())
}

fn wanted(facts: &Facts<'_>) -> i32 {
    let scaled = facts.deployment.and_then(|deployment| deployment.spec.replicas);
    scaled.filter(|_| facts.autoscaled).unwrap_or(facts.service.spec.replicas)
}

/// A condition that the Deployment has of the spec as it is now; what it says of an older one is no longer true.
fn condition<'a>(facts: &Facts<'a>, type_: &str, is: &str) -> Option<&'a DeploymentCondition> {
    let deployment = facts.deployment?;
    let status = deployment.status.as_ref()?;
    let conditions = status.conditions.as_ref().filter(|_| status.observed_generation == deployment.metadata.generation)?;
    conditions.iter().find(|c| c.type_.as_deref() == Some(type_) && c.status.as_deref() == Some(is))
}

fn obstacle(condition: &DeploymentCondition) -> String {
    let message = trouble::short(condition.message.as_deref().unwrap_or("pods cannot be made"));
    let remedy = if message.contains("exceeded quota") {
        ": raise the namespace's ResourceQuota, or ask for less"
    } else if message.contains("violates PodSecurity") {
        ": leave out what the namespace's Pod Security level forbids, or change its label pod-security.kubernetes.io/enforce"
    } else {
        ""
    };
    format!("{message}{remedy}")
}

/// A pod that has ended for good and is kept only to be looked at (evicted, say) is replaced by another, and is none.
fn is_alive_or_ending(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Failed" | "Succeeded"))
}

/// The uids of pods that routers may send requests to.
fn announced(slices: &[Arc<EndpointSlice>]) -> BTreeSet<&str> {
    // Conditions that nobody has set count as true (EndpointConditions' own rule).
    let is_ready = |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
    slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(is_ready)
        .filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_deref())
        .collect()
}

fn replica(facts: &Facts<'_>, announced: &BTreeSet<&str>, pod: &Pod) -> Replica {
    let ready = pod.status.as_ref().and_then(|status| status.conditions.as_ref()?.iter().find(|c| c.type_ == "Ready"));
    let ready_since = ready.filter(|c| c.status == "True").map(|c| c.last_transition_time.as_ref().map_or(facts.now, |time| time.0));
    let is_announced = pod.metadata.uid.as_deref().is_some_and(|uid| announced.contains(uid));
    Replica {
        name: pod.name_any(),
        updated: pod.labels().get(labels::REVISION).map(String::as_str) == Some(facts.revision),
        made: pod.creation_timestamp().map(|time| time.0),
        ready_since,
        serves: ready_since.is_some() && (is_announced || !serves(&facts.service.spec)),
        ending: ending(pod),
        trouble: if ready_since.is_some() { None } else { trouble::of_pod(pod, facts.now) },
    }
}

/// When it was told to end: Kubernetes writes down when it must have ended.
fn ending(pod: &Pod) -> Option<Timestamp> {
    let by = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    Some(by.checked_sub(grace).unwrap_or(by))
}

#[cfg(test)]
mod tests;
