//! Writes the status of a task, if it has changed, and tells of what was missed and what has ended.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Client, ResourceExt};

use super::{Context, Planned, apply::Done, dereference::World};
use crate::{
    Error,
    notes::{Note, Notes},
    writes::{self, About},
};
use mesh_api::{
    MeshTask, MeshTaskStatus,
    conditions::{Want, task as reason},
    task::{MeshTaskSpec, MissedRun},
};
use mesh_coordination::schedule::{Decision, LISTED};
use mesh_kit::clock;
use mesh_plan::task;

/// Writes it.
pub(super) async fn update_status(context: &Context, task: &MeshTask, planned: &Planned, done: &Done, world: &World) -> Result<(), Error> {
    let old = task.status.clone().unwrap_or_default();
    let new = status(&old, task, planned, done, world, clock::now());
    if publish_status(&context.client, &context.notes, task, &new).await? {
        tell(context, task, &old, &new, planned.decision().filter(|_| !done.waits));
    }
    Ok(())
}

/// Writes a status, if it differs from the one that is there, and tells of a new refusal; whether it was written.
pub(crate) async fn publish_status(client: &Client, notes: &Notes, task: &MeshTask, new: &MeshTaskStatus) -> Result<bool, Error> {
    // What was decided is of this very object: a status that was written meanwhile may say that more is handled.
    let act = "apply MeshTask status";
    if task.status.as_ref() == Some(new) || !writes::apply_status(client, task, About::Revision, new, act).await? {
        return Ok(false);
    }
    let (was, is) = (task.status.as_ref().and_then(|status| status.conditions.first()), new.conditions.first());
    if let Some(refused) = is.filter(|is| is.status != "True" && was.is_none_or(|was| was.message != is.message)) {
        let text = format!("{}: {}", refused.reason, refused.message);
        // A service that is not there may be applied right after its task.
        let note = if refused.reason == reason::SERVICE_MISSING { Note::normal("NotReady", text) } else { Note::warning("NotReady", text) };
        notes.publish(task, note);
    }
    Ok(true)
}

fn status(old: &MeshTaskStatus, task: &MeshTask, planned: &Planned, done: &Done, world: &World, now: Timestamp) -> MeshTaskStatus {
    let runs: Vec<_> = world.runs.iter().map(task::told).collect();
    let succeeded = world.runs.iter().filter(|run| task::has_succeeded(run));
    let succeeded = succeeded.filter_map(|run| run.status.as_ref()?.completion_time.clone());
    let going = world.runs.iter().filter(|run| !task::is_finished(run)).count();
    let mut new = MeshTaskStatus {
        observed_generation: task.metadata.generation,
        active: i32::try_from(going).unwrap_or(i32::MAX),
        last_successful_time: succeeded.chain(old.last_successful_time.clone()).max(),
        last_schedule_time: done.started.map(Time).or_else(|| old.last_schedule_time.clone()),
        next_schedule_time: None,
        runs,
        conditions: vec![condition(task, planned).over(&old.conditions, task.metadata.generation, now)],
        ..old.clone()
    };
    let Some(scheduled) = &planned.scheduled else { return new };
    new.handled_schedule = Some(scheduled.text.clone());
    let decision = &scheduled.decision;
    new.next_schedule_time = scheduled.next.filter(|_| !task.spec.suspend).map(Time);
    if !done.waits {
        new.handled_until = Some(Time(decision.last_handled));
        note_missed(&mut new, decision);
    } else if new.handled_until.is_none() {
        new.handled_until = task.creation_timestamp();
    }
    new
}

fn note_missed(status: &mut MeshTaskStatus, decision: &Decision) {
    let missed = decision.missed.iter();
    status.missed.extend(missed.map(|missed| MissedRun { scheduled_time: Time(missed.slot), reason: format!("{:?}", missed.reason) }));
    let surplus = status.missed.len().saturating_sub(LISTED);
    status.missed.drain(..surplus);
    let count = u64::try_from(decision.missed.len()).unwrap_or(u64::MAX).saturating_add(decision.missed_besides);
    status.missed_count = status.missed_count.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
}

fn condition(task: &MeshTask, planned: &Planned) -> Want {
    match &planned.program {
        Err(refusal) => Want::new(reason::READY, false, refusal.reason, refusal.message.clone()),
        Ok(_) => ready(&task.spec),
    }
}

/// The condition of a task that can run.
pub(crate) fn ready(spec: &MeshTaskSpec) -> Want {
    match spec.schedule {
        Some(_) if spec.suspend => Want::new(reason::READY, true, reason::SUSPENDED, "no run of the schedule starts (spec.suspend)"),
        Some(_) => Want::new(reason::READY, true, reason::SCHEDULED, ""),
        None => Want::new(reason::READY, true, reason::ON_DEMAND, ""),
    }
}

/// Tells of what has ended and of what was missed.
fn tell(context: &Context, task: &MeshTask, old: &MeshTaskStatus, new: &MeshTaskStatus, decision: Option<&Decision>) {
    context.metrics.ended(task, old, new);
    let (missed, besides) = decision.map(|decision| (decision.missed.as_slice(), decision.missed_besides)).unwrap_or_default();
    if let Some(oldest) = missed.first().filter(|_| besides > 0) {
        context.metrics.missed(task, oldest.reason, besides);
    }
    for missed in missed {
        context.metrics.missed(task, missed.reason, 1);
        context.notes.publish(task, Note::warning("RunMissed", format!("{} had no run: {:?}", missed.slot, missed.reason)));
    }
}
