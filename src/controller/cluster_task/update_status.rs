//! Writes the status of a task, if it has changed.
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{Context, dereference::World};
use crate::{
    Error,
    children::{Applied, is_of},
    mesh_task,
};
use mesh_api::{
    MeshTask, MeshTaskStatus,
    conditions::{Want, service::FIELD_CONTESTED, task as reason},
};
use mesh_backend::kubernetes::{render::task as render, status::task as status};
use mesh_coordination::schedule::Schedule;
use mesh_kit::clock;

/// Writes it, and says when it changes without anything else changing: when the next time of the schedule has come.
pub(super) async fn update_status(
    context: &Context,
    task: &MeshTask,
    schedule: Option<&Schedule>,
    applied: &Applied,
    world: &World,
) -> Result<Option<Duration>, Error> {
    let old = task.status.clone().unwrap_or_default();
    let now = clock::now();
    let new = MeshTaskStatus { door: context.options.door.clone(), ..made(&old, task, schedule, applied, world, now) };
    if mesh_task::publish_status(&context.client, &context.notes, task, &new).await? {
        context.metrics.count(task, &old, &new);
    }
    let next = new.next_schedule_time.map(|next| next.0.duration_since(now));
    Ok(next.and_then(|left| Duration::try_from(left).ok()).map(|left| left + Duration::from_secs(1)))
}

fn made(
    old: &MeshTaskStatus,
    task: &MeshTask,
    schedule: Option<&Schedule>,
    applied: &Applied,
    world: &World,
    now: Timestamp,
) -> MeshTaskStatus {
    let known = |name: &str| old.runs.iter().find(|run| run.name == name);
    let runs: Vec<_> = world.jobs.iter().map(|job| status::told(job, &world.pods, known(&job.name_any()), now)).collect();
    let ends = world.jobs.iter().map(|job| status::standing(job).end).zip(&runs);
    let (mut active, mut succeeded) = (0, old.last_successful_time.clone());
    for (end, run) in ends {
        match end {
            None => active += 1,
            Some(true) => succeeded = succeeded.max(run.completion_time.clone()),
            Some(false) => {}
        }
    }
    let cron_job = world.cron_job.as_ref().filter(|cron_job| is_of(*cron_job, task));
    let started = cron_job.and_then(|cron_job| cron_job.status.as_ref()?.last_schedule_time.clone());
    let next = schedule.filter(|_| !task.spec.suspend && applied.refusal.is_none()).and_then(|schedule| schedule.next_after(now));
    MeshTaskStatus {
        observed_generation: task.metadata.generation,
        active,
        last_schedule_time: started.or_else(|| old.last_schedule_time.clone()),
        last_successful_time: succeeded,
        next_schedule_time: next.map(Time),
        runs,
        conditions: vec![ready(task, applied, cron_job.is_some()).over(&old.conditions, task.metadata.generation, now)],
        ..old.clone()
    }
}

fn ready(task: &MeshTask, applied: &Applied, is_scheduled: bool) -> Want {
    if let Some(refusal) = &applied.refusal {
        let kept = if is_scheduled { "; until then its CronJob stays as it was" } else { "" };
        return Want::new(reason::READY, false, refusal.reason, format!("{}{kept}", refusal.message));
    }
    if let Some(contest) = &applied.contest {
        return Want::new(reason::READY, true, FIELD_CONTESTED, contest.clone());
    }
    match render::unhonoured(&task.spec) {
        Some(text) => Want { message: text, ..mesh_task::ready(&task.spec) },
        None => mesh_task::ready(&task.spec),
    }
}
