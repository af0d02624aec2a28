//! From a `MeshService` to its Deployment, Services, `PodDisruptionBudget` and `ServiceAccount`, and from a `MeshTask` to its `CronJob` and Jobs ([`task`]).
//! Pure: the same service makes the same objects, byte for byte.
//! Everything is written as an API server writes it back (no empty values, quantities in their canonical form), so that it can be compared with what is there.
mod budget;
mod container;
mod deployment;
mod door;
mod drain;
mod environment;
mod meta;
mod patch;
mod pod;
mod probes;
mod security;
mod service;
pub mod task;
#[cfg(test)]
mod tests;
mod variable;
mod volumes;

use std::net::SocketAddr;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

pub use mesh_api::kubernetes::Door;
use mesh_api::{MeshService, MeshServiceSpec, node::BackendKind, probe::Probe, service::Logs};
use mesh_plan::{
    container::DEFAULT_PORT,
    template::serves,
    validate::{Refusal, validate},
};

/// What a cluster has that the objects depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Whom a pod that is to end asks whether its requests have ended; none: there is no router, and nothing is waited for.
    pub drain: Option<DrainHook>,
    /// How programs talk to the mesh; none: there is no agent, and they are told of none.
    pub door: Option<Door>,
    /// A `HorizontalPodAutoscaler` has the Deployment: the number of replicas is its, and at least this.
    pub autoscaled: Option<i32>,
}

/// How a pod's end is held until routers have let it go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainHook {
    /// The routers' drain Service.
    pub address: SocketAddr,
    /// The image that has `/usr/local/bin/mesh-drain`.
    pub image: String,
}

/// What a service is made of in a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// Eight hexadecimal digits made from the pods' template.
    pub revision: String,
    /// Runs the pods.
    pub deployment: Deployment,
    /// Its names and addresses; none for a Worker without a port.
    pub services: Vec<Service>,
    /// How many pods may be taken away at once; none for a single one.
    pub budget: Option<PodDisruptionBudget>,
    /// Who the pods are; none if the pod template names another.
    pub account: Option<ServiceAccount>,
}

/// The objects of a service.
///
/// # Errors
/// What the spec asks for and a cluster cannot do, or a pod template that breaks a promise.
pub fn objects(service: &MeshService, around: &Surroundings) -> Result<Objects, Refusal> {
    validate(&service.spec, BackendKind::Kubernetes)?;
    let pod::Made { template, revision, own_account } = pod::template(service, around)?;
    Ok(Objects {
        revision,
        deployment: deployment::deployment(service, around, template),
        services: service::services(service),
        budget: budget::budget(service, around),
        account: own_account.then(|| account(service)),
    })
}

/// What the spec asks for and a cluster cannot do, in one text. The same file runs on Podman with it, so it is no refusal.
pub fn unhonoured(spec: &MeshServiceSpec) -> Option<String> {
    let fields = unhonoured_fields(spec);
    (!fields.is_empty()).then(|| fields.join("; "))
}

/// The same, one text per field.
pub fn unhonoured_fields(spec: &MeshServiceSpec) -> Vec<String> {
    let mut without: Vec<String> = logs_unhonoured(&spec.logs).into_iter().collect();
    for (field, probe) in [("livenessProbe", &spec.liveness_probe), ("startupProbe", &spec.startup_probe)] {
        if let Some(Probe { success_threshold: threshold @ 2.., .. }) = probe {
            without.push(format!("spec.{field}.successThreshold {threshold}: in a cluster one success is enough"));
        }
    }
    without
}

fn logs_unhonoured(logs: &Logs) -> Option<String> {
    let limits = "containerLogMaxSize, containerLogMaxFiles";
    (*logs != Logs::default()).then(|| format!("spec.logs: the kubelet keeps the output of pods, by its own limits ({limits})"))
}

/// The drain hook that the pods of a Deployment have.
pub fn installed_hook(deployment: &Deployment) -> Option<DrainHook> {
    drain::installed(deployment.spec.template.spec.as_ref()?)
}

/// Whether the pods of a Deployment are told of an agent.
pub fn has_door(deployment: &Deployment) -> bool {
    deployment.spec.template.spec.as_ref().is_some_and(door::is_installed)
}

/// The port that the pods listen on, if they listen.
fn port(spec: &MeshServiceSpec) -> Option<u16> {
    serves(spec).then(|| spec.port.map_or(DEFAULT_PORT, |port| port.0))
}

/// Who the pods are: nobody whom the API knows.
fn account(service: &MeshService) -> ServiceAccount {
    ServiceAccount {
        metadata: meta::meta(service, service.name_any(), meta::labels(service)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// A list with something in it: an API server leaves an empty one out.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
