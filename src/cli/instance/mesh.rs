//! A `MeshInstance` as an [`Instance`].
use kube::ResourceExt;

use super::{Exit, Instance, Kind};
use mesh_api::{
    MeshInstance, MeshInstanceStatus,
    conditions::{self, instance},
    instance::InstanceState,
};

/// What the object says.
pub fn instance(object: &MeshInstance) -> Instance {
    let nothing = MeshInstanceStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let ready = status.conditions.iter().find(|c| c.type_ == instance::READY);
    let not_ready = ready.filter(|c| c.status == "False");
    let exit = |exit: &mesh_api::instance::LastExit| Exit {
        text: exit.message.clone(),
        since: exit.started_at.as_ref().map(|time| time.0),
        at: Some(exit.finished_at.0),
        message: None,
    };
    Instance {
        kind: Kind::MeshInstance,
        namespace: object.namespace().unwrap_or_default(),
        id: object.name_any(),
        uid: object.uid(),
        service: object.spec.run.as_ref().map_or_else(|| object.spec.service.clone(), |run| run.task.clone()),
        is_run: object.spec.run.is_some(),
        state: word(status.state.unwrap_or(InstanceState::Pending)).to_owned(),
        since: ready.map(|c| c.last_transition_time.0),
        ready: conditions::is_true(&status.conditions, instance::READY),
        restarts: status.restart_count,
        address: status.address.clone(),
        pid: status.pid,
        node: Some(object.spec.node_name.clone()),
        created: object.creation_timestamp().map(|time| time.0),
        started: status.start_time.as_ref().map(|time| time.0),
        trouble: not_ready.map(|c| if c.message.is_empty() { c.reason.clone() } else { format!("{}: {}", c.reason, c.message) }),
        last_exit: status.last_exit.as_ref().map(exit),
    }
}

/// The state as the API writes it.
pub fn word(state: InstanceState) -> &'static str {
    match state {
        InstanceState::Pending => "Pending",
        InstanceState::Starting => "Starting",
        InstanceState::Ready => "Ready",
        InstanceState::NotReady => "NotReady",
        InstanceState::BackOff => "BackOff",
        InstanceState::Running => "Running",
        InstanceState::Succeeded => "Succeeded",
        InstanceState::Failed => "Failed",
        InstanceState::Draining => "Draining",
        InstanceState::Terminating => "Terminating",
    }
}
