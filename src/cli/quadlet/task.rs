//! A `MeshTask` as systemd runs it without a controller. What systemd cannot do of it becomes a note that names the field.
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    calendar,
    plan::{Job, Member},
};
use crate::{exit::Result, load::Loaded};
use mesh_api::{MeshTask, labels, names, node::BackendKind, service::ServiceType, task::ConcurrencyPolicy};
use mesh_backend::quadlet::render::{Timer, Tries};
use mesh_coordination::schedule::Schedule;
use mesh_plan::{
    about::Of,
    container,
    task::{self, Which},
};

/// How long a try is taken to last where the task does not say how long it may.
const TRY: Duration = Duration::from_hours(1);

/// The one instance of a task; none of a request, which no unit can make.
pub(super) fn member(loaded: &Loaded, task: &MeshTask, notes: &mut Vec<String>) -> Result<Option<Member>> {
    let (namespace, name) = (task.namespace().unwrap_or_default(), task.name_any());
    let mut note = |text: &str| notes.push(format!("{namespace}/{name}: {text}"));
    if task.spec.http.is_some() {
        note("spec.http: no unit is made of a request: it takes a controller, or a template with a command that makes it");
        return Ok(None);
    }
    let schedule = schedule(task).map_err(|error| loaded.complaint(task, &error.to_string()))?;
    let (tries, uncounted) = tries(task, schedule.as_ref());
    for text in differences(task, schedule.is_some()).into_iter().chain(uncounted) {
        note(&text);
    }
    let wanted = task::service_of(task);
    let service = loaded.services.iter().find(|service| wanted == Some(&service.name_any()) && service.namespace() == task.namespace());
    let program = task::program(task, service, BackendKind::Quadlet).map_err(|refusal| loaded.complaint(task, &refusal.message))?;
    // It never runs twice at once, so each of its runs has the same name.
    let which = Which { name: names::run(&name, "0"), scheduled: None, before: None, args: None };
    let run = task::run(task, &program, service, which, String::new());
    if !run.spec.template.image_pull_secrets.is_empty() {
        note("units hold no registry's password; run `podman login REGISTRY` once as the user that runs them");
    }
    let of = Of {
        namespace: &namespace,
        service: &run.spec.service,
        revision: &run.spec.revision,
        instance: &run.name_any(),
        ordinal: 0,
        part_of: task.labels().get(labels::APP_PART_OF).map(String::as_str),
        serves: false,
        template: &run.spec.template,
        service_type: Some(ServiceType::Worker),
        replicas: None,
        run: run.spec.run.as_ref(),
        door: None,
    };
    let container = container::container(&of, &loaded.sources(&namespace), None)
        .map_err(|missing| loaded.complaint(task, &task::placed(task, &missing.to_string())))?;
    let job = Job { tries, timer: schedule.as_ref().and_then(|schedule| timer(task, schedule)) };
    Ok(Some(Member {
        container,
        health: None,
        name: run.name_any(),
        revision: run.spec.revision,
        namespace,
        service: name,
        ordinal: 0,
        after: Vec::new(),
        job: Some(job),
    }))
}

fn schedule(task: &MeshTask) -> std::result::Result<Option<Schedule>, mesh_coordination::schedule::Error> {
    task.spec.schedule.as_ref().map(|schedule| Schedule::parse(schedule, task.spec.time_zone.as_deref())).transpose()
}

/// What systemd does otherwise than a controller would.
fn differences(task: &MeshTask, has_schedule: bool) -> Vec<String> {
    let spec = &task.spec;
    let mut texts = Vec::new();
    if spec.active_deadline_seconds.is_some() && spec.backoff_limit > 0 {
        texts.push("spec.activeDeadlineSeconds is held for each try: systemd knows no limit for all of them".to_owned());
    }
    if !has_schedule {
        return texts;
    }
    if spec.suspend {
        texts.push("spec.suspend: there is no timer, so nothing starts it but `systemctl start`".to_owned());
        return texts;
    }
    match (spec.concurrency_policy, spec.starting_deadline_seconds) {
        (policy @ (ConcurrencyPolicy::Allow | ConcurrencyPolicy::Replace), _) => texts.push(format!(
            "spec.concurrencyPolicy {policy:?} is not carried over: systemd never runs a unit twice at once, as Forbid does; a time that comes while it \
             runs is missed"
        )),
        (ConcurrencyPolicy::Forbid, Some(_)) => {
            texts.push("spec.concurrencyPolicy: a time that comes while it runs is missed at once, it does not wait".to_owned());
        }
        (ConcurrencyPolicy::Forbid, None) => {}
    }
    if spec.starting_deadline_seconds.is_some() {
        texts.push(
            "spec.startingDeadlineSeconds: systemd knows no deadline, so that no time that the machine missed is made up for".to_owned(),
        );
    }
    texts
}

fn timer(task: &MeshTask, schedule: &Schedule) -> Option<Timer> {
    let spec = &task.spec;
    (!spec.suspend).then(|| Timer {
        times: calendar::times(&schedule.form(), spec.time_zone.as_deref().unwrap_or("UTC")),
        persistent: spec.starting_deadline_seconds.is_none(),
        jitter: spec.jitter.map(mesh_api::duration::Duration::get),
    })
}

/// systemd counts starts, not the tries of one run: the time in which it counts is as long as all tries of a run take, and ends before the next run. Where
/// that is too short for them, there is one try.
fn tries(task: &MeshTask, schedule: Option<&Schedule>) -> (Tries, Option<String>) {
    let backoff_limit = u32::try_from(task.spec.backoff_limit).unwrap_or(0);
    let deadline = task.spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let delays: Duration = (0..backoff_limit).map(|again| Duration::from_secs((10 << again.min(6)).min(360))).sum();
    let all = delays + deadline.unwrap_or(TRY) * (backoff_limit + 1);
    let window = schedule.and_then(shortest).map_or(all, |gap| all.min(gap.saturating_sub(Duration::from_secs(1))));
    if backoff_limit > 0 && delays >= window {
        let text = format!(
            "spec.backoffLimit: a run that failed is not tried again before the next time: systemd could not count its {} tries between two times",
            backoff_limit + 1
        );
        return (Tries { backoff_limit: 0, deadline, window }, Some(text));
    }
    (Tries { backoff_limit, deadline, window }, None)
}

/// The shortest time between two of the next times of a schedule; a whole second at least.
fn shortest(schedule: &Schedule) -> Option<Duration> {
    let first = schedule.next_after(Timestamp::UNIX_EPOCH);
    let slots: Vec<Timestamp> = std::iter::successors(first, |slot| schedule.next_after(*slot)).take(400).collect();
    slots.windows(2).filter_map(|pair| Some(pair.last()?.duration_since(*pair.first()?).unsigned_abs())).min()
}
