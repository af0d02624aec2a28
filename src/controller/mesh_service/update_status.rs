//! Writes the status of a service, if it has changed.
use std::time::Duration;

use kube::{Client, runtime::controller::Action};

use super::{Context, dereference::World};
use crate::{
    Error,
    node::RENEW,
    notes::{Note, Notes},
    writes::{self, About},
};
use mesh_api::{
    MeshService, MeshServiceStatus,
    conditions::service::{self as condition, READY},
};
use mesh_kit::clock;
use mesh_plan::{
    service_status::{Facts, replicas::Trouble, status},
    validate::Refusal,
};

/// Writes it, and says when to look again.
pub(super) async fn update_status(
    context: &Context,
    service: &MeshService,
    revision: &str,
    refusal: Option<&Refusal>,
    obstacle: Option<Trouble>,
    world: &World,
) -> Result<Action, Error> {
    let conflict = world.conflict.clone();
    let (instances, announced) = (&world.instances, &world.announced);
    let (new, wake) = status(&Facts { service, revision, instances, announced, refusal, conflict, obstacle, now: clock::now() });
    publish_status(&context.client, &context.notes, service, &new).await?;
    let wake = wake.and_then(|wake| Duration::try_from(wake).ok());
    // Whether a node lives is a matter of time, and no event tells that its Lease has been renewed.
    let node = refusal.filter(|refusal| refusal.reason == condition::NO_NODE).map(|_| RENEW);
    let wake = wake.into_iter().chain(node).min();
    Ok(wake.map_or_else(Action::await_change, |wake| Action::requeue(wake + Duration::from_millis(100))))
}

/// Writes a status that differs from the one that is there, and tells of a new reason of it.
pub(crate) async fn publish_status(client: &Client, notes: &Notes, service: &MeshService, new: &MeshServiceStatus) -> Result<(), Error> {
    if service.status.as_ref() == Some(new) {
        return Ok(());
    }
    writes::apply_status(client, service, About::Object, new, "apply MeshService status").await?;
    if let Some(note) = note(service.status.as_ref(), new) {
        notes.publish(service, note);
    }
    Ok(())
}

/// The change that is worth an event: a new reason of the condition Ready.
fn note(old: Option<&MeshServiceStatus>, new: &MeshServiceStatus) -> Option<Note> {
    let ready = |status: &MeshServiceStatus| status.conditions.iter().find(|c| c.type_ == READY).cloned();
    let now = ready(new)?;
    let before = old.and_then(ready);
    if before.is_some_and(|before| before.reason == now.reason) {
        return None;
    }
    // Reasons are constants of this crate; an event needs one that lives as long.
    let message = if now.message.is_empty() { now.reason.clone() } else { format!("{}: {}", now.reason, now.message) };
    Some(match now.reason.as_str() {
        _ if now.status == "True" => Note::normal("Ready", message),
        // On the way, and nothing has gone wrong.
        condition::WAITING | condition::WAITING_FOR_TASK | condition::ROLLING_OUT | condition::TERMINATING | condition::SCALED_TO_ZERO => {
            Note::normal("NotReady", message)
        }
        _ => Note::warning("NotReady", message),
    })
}
