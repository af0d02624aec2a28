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
    task::{MeshTaskSpec, MissedRuns},
};
use mesh_coordination::schedule::{Decision, Missed, Schedule};
use mesh_kit::clock;
use mesh_plan::task;

/// How many entries of missed times are kept: the newest.
const LISTED: usize = 100;

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
        note_missed(&mut new, &decision.missed, &scheduled.schedule);
    } else if new.handled_until.is_none() {
        new.handled_until = task.creation_timestamp();
    }
    new
}

/// Lists what was missed: with the newest entry, where it follows that for the same reason.
fn note_missed(status: &mut MeshTaskStatus, missed: &[Missed], schedule: &Schedule) {
    for missed in missed {
        let count = i64::try_from(missed.count).unwrap_or(i64::MAX);
        let new = MissedRuns { from: Time(missed.from), to: Time(missed.to), count, reason: format!("{:?}", missed.reason) };
        let follows = |last: &&mut MissedRuns| last.reason == new.reason && schedule.next_after(last.to.0) == Some(missed.from);
        match status.missed.last_mut().filter(follows) {
            Some(last) => (last.to, last.count) = (new.to, last.count.saturating_add(count)),
            None => status.missed.push(new),
        }
        status.missed_count = status.missed_count.saturating_add(count);
    }
    let surplus = status.missed.len().saturating_sub(LISTED);
    status.missed.drain(..surplus);
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
    context.metrics.count(task, old, new);
    for missed in decision.into_iter().flat_map(|decision| &decision.missed) {
        context.metrics.missed(task, missed.reason, missed.count);
        context.notes.publish(task, Note::warning("RunMissed", had_no_run(missed)));
    }
}

/// Words without its time, where it is a single one: so one after the other is one Event that is counted.
fn had_no_run(missed: &Missed) -> String {
    let Missed { from, to, count, reason } = missed;
    if from == to { format!("a time had no run: {reason:?}") } else { format!("{count} times from {from} to {to} had no run: {reason:?}") }
}

#[cfg(test)]
mod tests {
    use mesh_coordination::schedule::Reason;

    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn missed(from: i64, to: i64, reason: Reason) -> Missed {
        Missed { from: second(from), to: second(to), count: u64::try_from(to - from + 1).unwrap(), reason }
    }

    #[test]
    fn missed_times_that_follow_one_another_for_one_reason_are_one_entry_and_one_event() {
        let schedule = Schedule::parse("@every 1s", None).unwrap();
        let mut status = MeshTaskStatus::default();
        for more in [missed(1, 1, Reason::StillRunning), missed(2, 3, Reason::StillRunning), missed(4, 9, Reason::Superseded)] {
            note_missed(&mut status, &[more], &schedule);
        }
        // Between them was a run.
        note_missed(&mut status, &[missed(11, 11, Reason::Superseded)], &schedule);
        let entries: Vec<_> =
            status.missed.iter().map(|m| (m.from.0.as_second(), m.to.0.as_second(), m.count, m.reason.as_str())).collect();
        assert_eq!(entries, [(1, 3, 3, "StillRunning"), (4, 9, 6, "Superseded"), (11, 11, 1, "Superseded")]);
        assert_eq!(status.missed_count, 10);
        let text = "6 times from 1970-01-01T00:00:04Z to 1970-01-01T00:00:09Z had no run: Superseded";
        assert_eq!(had_no_run(&missed(4, 9, Reason::Superseded)), text);
        let many: Vec<_> = (10..200).map(|time| missed(2 * time, 2 * time, Reason::StillRunning)).collect();
        note_missed(&mut status, &many, &schedule);
        assert_eq!((status.missed.len(), status.missed_count), (100, 200));
    }
}
