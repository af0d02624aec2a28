//! Writes the agent's part of an instance's status, if it has changed, and tells what changed as Events.
use kube::ResourceExt;

use super::agent::Agent;
use crate::{
    Error,
    notes::Note,
    writes::{self, About},
};
use mesh_api::{MeshInstance, MeshInstanceStatus, conditions::instance as reason, instance::InstanceState};

/// Writes it.
pub(super) async fn update_status(agent: &Agent, instance: &MeshInstance, new: &MeshInstanceStatus) -> Result<(), Error> {
    // The entries of routers are theirs.
    let old = instance.status.clone().map(|status| MeshInstanceStatus { routers: Vec::new(), ..status }).unwrap_or_default();
    if old == *new {
        return Ok(());
    }
    if !writes::apply_status(&agent.client, instance, About::Object, new, "apply MeshInstance status").await? {
        agent.orphans.suspect(instance);
        return Ok(());
    }
    let told = agent.tell(&instance.uid().unwrap_or_default(), new.clone()).unwrap_or(old);
    for note in notes(&told, new) {
        agent.notes.publish(instance, note);
    }
    Ok(())
}

/// Why probes cannot be made: a message of one that is ready, or the reason of one that is not.
fn unknown(status: &MeshInstanceStatus) -> Option<&String> {
    let ready = status.conditions.first()?;
    let told = ready.reason == reason::PROBE_UNKNOWN || (ready.reason == reason::RUNNING && !ready.message.is_empty());
    told.then_some(&ready.message)
}

fn notes(old: &MeshInstanceStatus, new: &MeshInstanceStatus) -> Vec<Note> {
    let message = new.conditions.first().map(|condition| condition.message.clone()).unwrap_or_default();
    let mut notes = Vec::new();
    if old.last_exit != new.last_exit
        && let Some(exit) = &new.last_exit
        && new.state != Some(InstanceState::Succeeded)
        && new.state != Some(InstanceState::Terminating)
    {
        notes.push(Note::warning("Ended", format!("the program {}", exit.message)));
    }
    if let Some(why) = unknown(new).filter(|why| unknown(old) != Some(why)) {
        notes.push(Note::warning(reason::PROBE_UNKNOWN, why.clone()));
    }
    if old.state == new.state {
        return notes;
    }
    let drained = old.state == Some(InstanceState::Draining);
    notes.extend(match new.state {
        Some(InstanceState::Ready) => {
            let place = new.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
            Some(Note::normal("Ready", format!("serves{place}")))
        }
        Some(InstanceState::NotReady) => Some(Note::warning("Unhealthy", message)),
        Some(InstanceState::BackOff) => Some(Note::warning("BackOff", message)),
        Some(InstanceState::Draining) => Some(Note::normal("Draining", message)),
        Some(InstanceState::Terminating) if drained => Some(Note::normal("Drained", "every router has let it go; it is being told to end")),
        Some(InstanceState::Terminating) => Some(Note::normal("Stopping", "being told to end")),
        Some(InstanceState::Succeeded) => Some(Note::normal("Completed", "came to a good end")),
        Some(InstanceState::Failed) => {
            let why = new.conditions.last().map(|failed| format!("{}: {}", failed.reason, failed.message)).unwrap_or_default();
            Some(Note::warning("Failed", why))
        }
        Some(InstanceState::Pending | InstanceState::Starting | InstanceState::Running) | None => None,
    });
    notes
}
