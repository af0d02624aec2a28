//! The life of a run of a task: it is tried until it comes to a good end, or may be tried no more; then what it came to stands.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{ASK_AGAIN, Facts, START_BACKOFF, Say, Step, condition, counted, grace, old_status, wait};
use crate::instance::{ExitHow, Observed};
use mesh_api::{
    MeshInstanceStatus,
    conditions::{Want, instance as reason, task},
    instance::{InstanceState, TaskRun},
};
use mesh_kit::backoff::Backoff;

/// The waits between tries, as a Job's.
const BACKOFF: Backoff = Backoff { base: Duration::from_secs(10), max: Duration::from_mins(6) };

/// The status of one that has come to its end.
pub(super) fn done(facts: &Facts<'_>) -> Option<MeshInstanceStatus> {
    let done = old_status(facts).filter(|status| status.completion_time.is_some())?;
    Some(MeshInstanceStatus { routers: Vec::new(), ..done.clone() })
}

/// The conditions of a Job.
pub(super) fn conditions(facts: &Facts<'_>, say: &Say) -> Vec<Condition> {
    let complete = Want::new(task::COMPLETE, say.state == InstanceState::Succeeded, say.reason, say.message.clone());
    let failed = Want::new(task::FAILED, true, say.reason, say.message.clone());
    let failed = (say.state == InstanceState::Failed).then(|| condition(facts, failed));
    std::iter::once(condition(facts, complete)).chain(failed).collect()
}

/// The next step of one that has not come to its end.
pub(super) fn live(facts: &Facts<'_>, run: &TaskRun) -> (Step, Say) {
    let over = over(facts, run, facts.now);
    match facts.observed {
        Observed::Running(running) => {
            let Some((reason, why)) = over else {
                return (Step::Wait { wake: left(facts, run) }, Say::new(InstanceState::Running, reason::RUNNING, ""));
            };
            let step = if running.stopping { wait() } else { Step::Stop { grace: grace(facts) } };
            (step, Say::new(InstanceState::Running, reason, format!("{why}; it is being ended")))
        }
        Observed::Exited(exit) => match (&exit.how, self::over(facts, run, exit.at)) {
            (ExitHow::Code(0), None) => (wait(), Say::new(InstanceState::Succeeded, task::SUCCEEDED, "")),
            (how, then) => match then.or(over) {
                Some((reason, why)) => failed(reason, why),
                None => again(facts, run, exit.attempt, exit.at, &told(run, how)),
            },
        },
        Observed::Absent => match (over, &facts.memory.start_failure) {
            (Some((reason, why)), _) => failed(reason, why),
            (None, Some(failure)) if failure.is_under_way() || failure.is_ours() => start_after(
                facts,
                run,
                first(facts),
                failure.at,
                ASK_AGAIN,
                Say::new(InstanceState::Pending, failure.reason, failure.message.clone()),
            ),
            (None, Some(failure)) if facts.memory.refused > limit(run) => failed(failure.reason, failure.message.clone()),
            (None, Some(failure)) => {
                let delay = START_BACKOFF.delay(facts.memory.failures, 0.5);
                start_after(
                    facts,
                    run,
                    first(facts),
                    failure.at,
                    delay,
                    Say::new(InstanceState::Pending, failure.reason, failure.message.clone()),
                )
            }
            // Its record is gone: with the machine's power, or somebody has removed it. What it came to nobody knows.
            (None, None) if let Some(started) = started(facts) => {
                again(facts, run, counted(facts), started, "what it came to is not known")
            }
            (None, None) => (Step::Start { attempt: 0 }, Say::new(InstanceState::Pending, reason::PENDING, "to be started")),
        },
    }
}

/// Tries it again after a while, if it may be.
fn again(facts: &Facts<'_>, run: &TaskRun, attempt: u32, at: Timestamp, how: &str) -> (Step, Say) {
    let tries = attempt.saturating_add(1);
    if tries.saturating_add(facts.memory.refused) > limit(run) {
        let times = if tries > 1 { format!(" ({tries} tries)") } else { String::new() };
        return failed(task::BACKOFF_LIMIT, format!("{how}{times}"));
    }
    let delay = BACKOFF.delay(tries.saturating_add(1), 0.0);
    let message = format!("{how} (try {tries} of {}); it is tried again after {} s", limit(run).saturating_add(1), delay.as_secs());
    start_after(facts, run, tries, at, delay, Say::new(InstanceState::BackOff, reason::BACK_OFF, message))
}

/// Starts it a while after what went before. (A clock that was set back says nothing about the wait: then it is over.)
fn start_after(facts: &Facts<'_>, run: &TaskRun, attempt: u32, from: Timestamp, delay: Duration, meanwhile: Say) -> (Step, Say) {
    let passed = Duration::try_from(facts.now.duration_since(from)).unwrap_or(Duration::MAX);
    let rest = delay.saturating_sub(passed);
    if rest.is_zero() {
        return (Step::Start { attempt }, Say::new(InstanceState::Pending, reason::PENDING, "to be started"));
    }
    (Step::Wait { wake: left(facts, run).into_iter().chain([rest]).min() }, meanwhile)
}

/// How a try ended that did not end well.
fn told(run: &TaskRun, how: &ExitHow) -> String {
    match (&run.http, how) {
        (None, how) => format!("it ended with {how}"),
        (Some(http), ExitHow::Code(status)) => format!("{} answered {status}", http.service),
        (Some(http), _) => format!("{} did not answer", http.service),
    }
}

fn failed(reason: &'static str, message: String) -> (Step, Say) {
    (wait(), Say::new(InstanceState::Failed, reason, message))
}

fn limit(run: &TaskRun) -> u32 {
    u32::try_from(run.backoff_limit).unwrap_or(0)
}

/// When it was started last.
fn started(facts: &Facts<'_>) -> Option<Timestamp> {
    old_status(facts)?.start_time.as_ref().map(|time| time.0)
}

/// The number of the try whose start has not come about.
fn first(facts: &Facts<'_>) -> u32 {
    if started(facts).is_some() { counted(facts).saturating_add(1) } else { 0 }
}

/// Why a run was to be over at a time, if it was: a reason, and words.
fn over(facts: &Facts<'_>, run: &TaskRun, at: Timestamp) -> Option<(&'static str, String)> {
    let cancelled =
        run.cancelled.as_ref().filter(|cancelled| cancelled.at.0 <= at).map(|cancelled| (task::CANCELLED, cancelled.why.clone()));
    let late = deadline(facts, run).filter(|deadline| *deadline <= at);
    let seconds = run.active_deadline_seconds.unwrap_or_default();
    cancelled.or_else(|| late.map(|_| (task::DEADLINE, format!("it took longer than activeDeadlineSeconds, {seconds} s"))))
}

fn deadline(facts: &Facts<'_>, run: &TaskRun) -> Option<Timestamp> {
    let created = facts.instance.metadata.creation_timestamp.as_ref().map_or(facts.now, |time| time.0);
    created.checked_add(SignedDuration::from_secs(run.active_deadline_seconds?)).ok()
}

/// How long it may go on.
fn left(facts: &Facts<'_>, run: &TaskRun) -> Option<Duration> {
    Duration::try_from(deadline(facts, run)?.duration_since(facts.now)).ok()
}

#[cfg(test)]
mod tests;
