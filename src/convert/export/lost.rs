//! What a service asks for and plain manifests do not do.
use mesh_api::{
    MeshService, MeshServiceSpec,
    container::Volume,
    service::{Retry, Strategy, Timeouts},
};
use mesh_backend::kubernetes::render::unhonoured_fields;
use mesh_plan::{routes::claims, template::serves};

use super::ingress::is_address;

/// One thing, and the kind of object that it is said beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) beside: &'static str,
    /// Begins with the field.
    pub(super) text: String,
}

/// What is lost of a service whose pods sleep so many seconds before they end.
pub(super) fn lost(service: &MeshService, sleeps: Option<i64>) -> Vec<Lost> {
    let MeshServiceSpec { image, volumes, podman, .. } = &service.spec;
    let mut pods: Vec<String> = Vec::new();
    if let Some(image) = image.as_ref().filter(|image| image.starts_with("localhost/")) {
        pods.push(format!(
            "spec.image {image}: it is on this machine only; push it to a registry that the cluster reads, and name it here"
        ));
    }
    pods.extend(drain(&service.spec, sleeps));
    pods.extend(unhonoured_fields(&service.spec));
    if podman.is_some() {
        pods.push("spec.podman: networks and names of containers are Podman's".to_owned());
    }
    pods.extend(volumes.iter().filter_map(host_path));
    let router = if claims(&service.spec).is_empty() { "Service" } else { "Ingress" };
    let pods = pods.into_iter().map(|text| Lost { beside: "Deployment", text });
    pods.chain(of_router(&service.spec).into_iter().map(|text| Lost { beside: router, text })).collect()
}

fn drain(spec: &MeshServiceSpec, sleeps: Option<i64>) -> Option<String> {
    let wanted = serves(spec) && !spec.drain.timeout.get().is_zero();
    let instead = match sleeps {
        Some(seconds) => format!("they get {seconds} s (preStop.sleep) before they are told to end"),
        None => "they are told to end as their own preStop or terminationGracePeriodSeconds says".to_owned(),
    };
    wanted.then(|| format!("spec.drain: nothing waits until requests, WebSockets and sessions of ending pods are done; {instead}"))
}

fn host_path(volume: &Volume) -> Option<String> {
    let host = volume.host_path.as_ref()?;
    Some(format!("spec.volumes {:?}: {} is a path of each node, and what lies there on this machine is not moved", volume.name, host.path))
}

/// What our router does with requests, and a Service or an Ingress does not.
fn of_router(spec: &MeshServiceSpec) -> Vec<String> {
    let mut lost = Vec::new();
    match spec.strategy {
        Strategy::RoundRobin => {}
        Strategy::LeastConnections => lost.push(
            "spec.strategy LeastConnections: a Service spreads connections at random; an Ingress controller may have an annotation for it"
                .to_owned(),
        ),
        Strategy::SessionAffinity => lost.push(
            "spec.strategy SessionAffinity: clients do not stay with a pod; an Ingress controller may have an annotation for a cookie"
                .to_owned(),
        ),
    }
    if spec.session_persistence.is_some() {
        lost.push("spec.sessionPersistence: there is no such cookie".to_owned());
    }
    if let Some(Timeouts { request: Some(request) }) = &spec.timeouts {
        lost.push(format!("spec.timeouts.request {request}: an Ingress controller has limits and annotations of its own"));
    }
    if let Some(Retry { attempts }) = spec.retry {
        lost.push(format!("spec.retry.attempts {attempts}: an Ingress controller has rules and annotations of its own"));
    }
    for claim in claims(spec) {
        if is_address(&claim) {
            lost.push(format!("spec.routes {claim}: an Ingress has no addresses for hosts"));
        }
        if claim.hostname.as_ref().is_some_and(|host| host.starts_with("*.")) {
            lost.push(format!("spec.routes {claim}: in an Ingress the * stands for one label, not for several"));
        }
    }
    lost
}
