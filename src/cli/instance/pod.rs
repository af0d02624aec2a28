//! A pod as an [`Instance`]: its state in the words that a VM's instances have, and what is wrong with it in one line.
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus};
use kube::ResourceExt;

use super::{Exit, Instance, Kind, mesh::word};
use mesh_api::{
    conditions::instance,
    instance::InstanceState,
    labels::{SERVICE, TASK},
    names::{CONTAINER, PORT_NAME},
};
use mesh_backend::kubernetes::status::trouble;
use mesh_kit::clock;

/// What the pod says now.
pub fn instance(pod: &Pod) -> Instance {
    at(pod, clock::now())
}

fn at(pod: &Pod, now: Timestamp) -> Instance {
    let (nothing, no_spec) = (PodStatus::default(), PodSpec::default());
    let facts = Facts::new(pod, pod.status.as_ref().unwrap_or(&nothing));
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let state = facts.state();
    Instance {
        kind: Kind::Pod,
        namespace: pod.namespace().unwrap_or_default(),
        id: pod.name_any(),
        uid: pod.uid(),
        service: pod.labels().get(SERVICE).or_else(|| pod.labels().get(TASK)).cloned().unwrap_or_default(),
        is_run: pod.labels().contains_key(TASK),
        since: facts.condition("Ready").and_then(|c| c.last_transition_time.as_ref()).map(|time| time.0),
        ready: facts.ready(),
        restarts: facts.app.map_or(0, |app| app.restart_count),
        address: address(spec, facts.status),
        pid: None,
        node: spec.node_name.clone(),
        created: pod.creation_timestamp().map(|time| time.0),
        started: facts.started_at(),
        trouble: facts.trouble(pod, &state, now),
        last_exit: facts.last_exit(),
        state,
    }
}

/// A pod's status, with what is looked at most.
struct Facts<'a> {
    deleted: bool,
    status: &'a PodStatus,
    app: Option<&'a ContainerStatus>,
}

impl<'a> Facts<'a> {
    fn new(pod: &Pod, status: &'a PodStatus) -> Self {
        let containers = status.container_statuses.as_deref().unwrap_or_default();
        let app = containers.iter().find(|container| container.name == CONTAINER).or(containers.first());
        Self { deleted: pod.metadata.deletion_timestamp.is_some(), status, app }
    }

    fn condition(&self, type_: &str) -> Option<&'a PodCondition> {
        self.status.conditions.as_deref().unwrap_or_default().iter().find(|condition| condition.type_ == type_)
    }

    fn ready(&self) -> bool {
        self.condition("Ready").is_some_and(|condition| condition.status == "True")
    }

    fn started_at(&self) -> Option<Timestamp> {
        Some(self.app?.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0)
    }

    fn state(&self) -> String {
        let phase = self.status.phase.as_deref().unwrap_or("Pending");
        let running = self.started_at().is_some();
        let state = match phase {
            _ if self.deleted && running && self.ready() => InstanceState::Draining,
            _ if self.deleted => InstanceState::Terminating,
            // No word of a VM means that: an evicted pod, for example, which is there for people to read.
            "Failed" | "Succeeded" => return phase.to_owned(),
            _ if self.ready() => InstanceState::Ready,
            _ if running && self.was_ready() => InstanceState::NotReady,
            _ if running => InstanceState::Starting,
            _ if self.has_ended() => InstanceState::BackOff,
            _ => InstanceState::Pending,
        };
        word(state).to_owned()
    }

    /// The condition Ready became False after this run had begun, so it had been True in it.
    fn was_ready(&self) -> bool {
        let since = self.condition("Ready").and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
        since.zip(self.started_at()).is_some_and(|(since, started)| since > started)
    }

    fn has_ended(&self) -> bool {
        self.app.is_some_and(|app| {
            app.state.as_ref().is_some_and(|state| state.terminated.is_some())
                || app.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
        })
    }

    fn last_exit(&self) -> Option<Exit> {
        let app = self.app?;
        let ended = [&app.state, &app.last_state].into_iter().find_map(|state| state.as_ref()?.terminated.as_ref())?;
        Some(exit(ended))
    }

    /// The words of the service's status, and when the kubelet tries again, which changes too often to stand there.
    fn trouble(&self, pod: &Pod, state: &str, now: Timestamp) -> Option<String> {
        if self.ready() && !self.deleted {
            return None;
        }
        if let Some(reason) = self.status.reason.as_ref().filter(|_| matches!(state, "Failed" | "Succeeded")) {
            return Some(said(reason, self.status.message.as_deref()));
        }
        if self.ready() {
            return Some(format!("{}: the routers are being waited for", instance::DRAINING));
        }
        let (reason, text) = trouble::of_pod(pod, now)?;
        Some(format!("{reason}: {text}{}", if reason == instance::BACK_OFF { back_off(self.app) } else { String::new() }))
    }
}

/// `; it is started again within 40s`, from the kubelet's `back-off 40s restarting failed container=app pod=…`.
fn back_off(app: Option<&ContainerStatus>) -> String {
    let message = app.and_then(|app| app.state.as_ref()?.waiting.as_ref()?.message.as_deref());
    let pause = message.and_then(|text| text.strip_prefix("back-off ")).and_then(|text| text.split(' ').next());
    pause.map(|pause| format!("; it is started again within {pause}")).unwrap_or_default()
}

fn exit(ended: &ContainerStateTerminated) -> Exit {
    let message = ended.message.clone().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let [since, at] = [&ended.started_at, &ended.finished_at].map(|time| time.as_ref().map(|time| time.0));
    Exit { text: trouble::end(ended), since, at, message }
}

fn said(reason: &str, message: Option<&str>) -> String {
    match message.map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    }
}

/// The pod's address with the port of the service's container.
fn address(spec: &PodSpec, status: &PodStatus) -> Option<String> {
    let ip = status.pod_ip.as_deref().filter(|ip| !ip.is_empty())?;
    let app = spec.containers.iter().find(|container| container.name == CONTAINER).or(spec.containers.first())?;
    let ports = app.ports.as_deref().unwrap_or_default();
    let port = ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME)).or(ports.first())?.container_port;
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

#[cfg(test)]
mod tests;
