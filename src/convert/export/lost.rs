//! What a service or a task asks for and plain manifests do not do.
use kube::ResourceExt;

use mesh_api::{
    MeshService, MeshServiceSpec, MeshTask,
    container::Volume,
    service::{Retry, Strategy, Timeouts},
};
use mesh_backend::kubernetes::render::{task::unhonoured, unhonoured_fields};
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
    let spec = &service.spec;
    let before = spec.rollout.before.as_ref().map(|before| {
        format!(
            "spec.rollout.before: nothing runs the task {0} before a new revision: kubectl create job NAME --from=cronjob/{0} does",
            before.task
        )
    });
    let router = if claims(spec).is_empty() { "Service" } else { "Ingress" };
    let pods = of_pods(spec, sleeps).into_iter().chain(before).map(|text| Lost { beside: "Deployment", text });
    pods.chain(of_router(spec).into_iter().map(|text| Lost { beside: router, text })).collect()
}

/// What is lost of a task that runs this program. What is lost of the service in whose place it runs is said there.
pub(super) fn of_task(task: &MeshTask, program: &MeshServiceSpec) -> Vec<Lost> {
    let name = task.name_any();
    let on_demand = task.spec.schedule.is_none().then(|| {
        format!("spec.schedule: it has none, and a CronJob needs one: this one is suspended, and kubectl create job NAME --from=cronjob/{name} runs it")
    });
    let own = task.spec.template.iter().flat_map(|_| of_pods(program, None)).map(|text| text.replacen("spec.", "spec.template.", 1));
    let all = on_demand.into_iter().chain(own).chain(unhonoured(&task.spec));
    all.map(|text| Lost { beside: "CronJob", text }).collect()
}

fn of_pods(spec: &MeshServiceSpec, sleeps: Option<i64>) -> Vec<String> {
    let MeshServiceSpec { image, volumes, podman, .. } = spec;
    let mut pods: Vec<String> = Vec::new();
    if let Some(image) = image.as_ref().filter(|image| image.starts_with("localhost/")) {
        pods.push(format!(
            "spec.image {image}: it is on this machine only; push it to a registry that the cluster reads, and name it here"
        ));
    }
    pods.extend(drain(spec, sleeps));
    pods.extend(unhonoured_fields(spec));
    if podman.is_some() {
        pods.push("spec.podman: networks and names of containers are Podman's".to_owned());
    }
    pods.extend(volumes.iter().filter_map(host_path));
    pods
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
