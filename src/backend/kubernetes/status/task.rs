//! What is told of a run of a task in a cluster: from its Job and that Job's pods, in the words of a run on a machine ([`mesh_plan::task::told`]). Pure.
use std::cmp::Reverse;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::{ContainerStateTerminated, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::trouble;
use mesh_api::{
    conditions::task::{BACKOFF_LIMIT, COMPLETE, DEADLINE, FAILED},
    instance::InstanceState,
    labels,
    names::CONTAINER,
    task::TaskRunStatus,
};
use mesh_plan::task::Standing;

/// On a Job: its time in the schedule (Kubernetes' own annotation).
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// On a pod: its Job (Kubernetes' own label).
pub const JOB: &str = "batch.kubernetes.io/job-name";

/// How a Job stands.
pub fn standing(job: &Job) -> Standing {
    let before = job.labels().get(labels::BEFORE).cloned();
    Standing { before, end: end(job).map(|condition| condition.type_ == COMPLETE) }
}

/// All Jobs, newest first.
pub fn newest_first(mut jobs: Vec<Job>) -> Vec<Job> {
    jobs.sort_by_key(|job| Reverse((job.creation_timestamp().map(|time| time.0), job.name_any())));
    jobs
}

/// The pods of a Job, newest first.
pub fn pods_of<'a>(job: &Job, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let is_of = |pod: &&Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref());
    let mut own: Vec<&Pod> = pods.iter().filter(is_of).collect();
    own.sort_by_key(|pod| Reverse((pod.creation_timestamp().map(|time| time.0), pod.name_any())));
    own
}

/// What is told of a run; `old` is what was told of it before, when pods may have been there that are gone.
pub fn told(job: &Job, pods: &[Pod], old: Option<&TaskRunStatus>, now: Timestamp) -> TaskRunStatus {
    let pods = pods_of(job, pods);
    let ended = pods.iter().find_map(|pod| ended(pod));
    let state = state(job, pods.first().copied());
    let tries = tries(job);
    let completed = end(job).and_then(|condition| condition.last_transition_time.clone());
    TaskRunStatus {
        name: job.name_any(),
        scheduled_time: job.annotations().get(SCHEDULED).and_then(|at| at.parse().ok()).map(Time),
        start_time: job.creation_timestamp(),
        completion_time: job.status.as_ref().and_then(|status| status.completion_time.clone()).or(completed),
        tries,
        exit_code: ended.map(|ended| ended.exit_code).or_else(|| old?.exit_code),
        message: message(job, state, tries, pods.first().copied(), ended, now),
        last_words: ended.and_then(|ended| words(ended.message.as_deref()?)).or_else(|| old?.last_words.clone()),
        state,
    }
}

/// The condition that says that it has come to its end.
fn end(job: &Job) -> Option<&JobCondition> {
    let conditions = job.status.as_ref()?.conditions.iter().flatten();
    conditions.into_iter().find(|condition| condition.status == "True" && (condition.type_ == COMPLETE || condition.type_ == FAILED))
}

fn ended(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let app = pod.status.as_ref()?.container_statuses.iter().flatten().find(|container| container.name == CONTAINER)?;
    app.state.as_ref()?.terminated.as_ref()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn state(job: &Job, newest: Option<&Pod>) -> InstanceState {
    match (end(job), newest.map(phase)) {
        (Some(condition), _) if condition.type_ == COMPLETE => InstanceState::Succeeded,
        (Some(_), _) => InstanceState::Failed,
        (None, _) if job.metadata.deletion_timestamp.is_some() => InstanceState::Terminating,
        (None, Some("Failed")) => InstanceState::BackOff,
        (None, Some("Running" | "Succeeded")) => InstanceState::Running,
        (None, _) => InstanceState::Pending,
    }
}

fn tries(job: &Job) -> i32 {
    let status = job.status.clone().unwrap_or_default();
    [status.active, status.succeeded, status.failed].into_iter().flatten().sum()
}

/// Why it is as it is.
fn message(
    job: &Job,
    state: InstanceState,
    tries: i32,
    newest: Option<&Pod>,
    ended: Option<&ContainerStateTerminated>,
    now: Timestamp,
) -> String {
    let how = ended.map(trouble::end);
    match (state, end(job)) {
        (InstanceState::Failed, Some(condition)) => match (condition.reason.as_deref(), how) {
            (Some(BACKOFF_LIMIT), Some(how)) if tries > 1 => format!("it {how} ({tries} tries)"),
            (Some(BACKOFF_LIMIT), Some(how)) => format!("it {how}"),
            (Some(DEADLINE), _) => {
                let seconds = job.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).unwrap_or_default();
                format!("it took longer than activeDeadlineSeconds, {seconds} s")
            }
            (reason, _) => condition.message.clone().unwrap_or_else(|| reason.unwrap_or("it failed").to_owned()),
        },
        (InstanceState::BackOff, _) => how.map(|how| format!("it {how}, and is tried again")).unwrap_or_default(),
        (InstanceState::Pending, _) => newest.and_then(|pod| trouble::of_pod(pod, now)).map(|(_, text)| text).unwrap_or_default(),
        _ => String::new(),
    }
}

/// What a program left, if it left anything.
fn words(message: &str) -> Option<String> {
    Some(message.trim()).filter(|words| !words.is_empty()).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests;
