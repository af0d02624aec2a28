//! From a `MeshTask` to its `CronJob`, and to the Job of a run that somebody asks for. Pure. What a `CronJob` cannot do is refused: it would run otherwise than
//! the task says.
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec},
        core::v1::Container,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use super::{Door, logs_unhonoured, meta, pod, port, some};
use mesh_api::{
    MeshService, MeshTask,
    conditions::task::UNSUPPORTED,
    duration::Duration,
    labels,
    names::CONTAINER,
    node::BackendKind,
    task::{ConcurrencyPolicy, MeshTaskSpec},
};
use mesh_plan::{container::DEFAULT_PORT, task::program, validate::Refusal};

/// What a task is made of in a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// Runs it on its schedule; none for a task that runs when asked.
    pub cron_job: Option<CronJob>,
    /// What each run is.
    pub run: JobTemplateSpec,
}

/// The objects of a task; `service` is the one that it needs, and `door` is where its runs find the mesh, if there is an agent.
///
/// # Errors
/// What is wrong with the task, or what it asks for and a cluster cannot do; it names the field and the remedy.
pub fn objects(task: &MeshTask, service: Option<&MeshService>, door: Option<&Door>) -> Result<Objects, Refusal> {
    supported(&task.spec, service)?;
    let program = program(task, service, BackendKind::Kubernetes)?;
    let of_service =
        |wrong: Refusal| Refusal { message: wrong.message.replacen("spec.", "spec.serviceRef: of its service, spec.", 1), ..wrong };
    let template = pod::of_task(task, program, service, door).map_err(of_service)?;
    let spec = JobSpec {
        backoff_limit: Some(task.spec.backoff_limit),
        active_deadline_seconds: task.spec.active_deadline_seconds,
        template,
        ..JobSpec::default()
    };
    let metadata = ObjectMeta { labels: Some(meta::of_task(task)), ..ObjectMeta::default() };
    let run = JobTemplateSpec { metadata: Some(metadata), spec: Some(spec) };
    let cron_job = task.spec.schedule.as_ref().map(|schedule| cron_job(task, schedule, run.clone()));
    Ok(Objects { cron_job, run })
}

fn cron_job(task: &MeshTask, schedule: &str, run: JobTemplateSpec) -> CronJob {
    let spec = &task.spec;
    let policy = match spec.concurrency_policy {
        ConcurrencyPolicy::Allow => "Allow",
        ConcurrencyPolicy::Forbid => "Forbid",
        ConcurrencyPolicy::Replace => "Replace",
    };
    CronJob {
        metadata: meta::meta(task, task.name_any(), meta::of_task(task)),
        spec: CronJobSpec {
            schedule: schedule.to_owned(),
            // A CronJob without one has that of the controller manager's machine.
            time_zone: Some(spec.time_zone.clone().unwrap_or_else(|| "UTC".to_owned())),
            concurrency_policy: Some(policy.to_owned()),
            starting_deadline_seconds: spec.starting_deadline_seconds,
            suspend: Some(spec.suspend),
            successful_jobs_history_limit: Some(spec.successful_jobs_history_limit),
            failed_jobs_history_limit: Some(spec.failed_jobs_history_limit),
            job_template: run,
        },
        status: None,
    }
}

/// The Job of a run that somebody asks for: with arguments in the place of the task's own, or the one that a new revision of a service waits for.
pub fn job(task: &MeshTask, run: &JobTemplateSpec, name: String, args: Option<Vec<String>>, before: Option<String>) -> Job {
    let mut of_job = meta::of_task(task);
    of_job.extend(before.map(|service| (labels::BEFORE.to_owned(), service)));
    let mut spec = run.spec.clone();
    if let Some(args) = args {
        let pod = spec.iter_mut().filter_map(|spec| spec.template.spec.as_mut());
        let app = |container: &&mut Container| container.name == CONTAINER;
        pod.flat_map(|pod| &mut pod.containers).filter(app).for_each(|app| app.args = some(args.clone()));
    }
    Job { metadata: meta::meta(task, name, of_job), spec, status: None }
}

/// What the task asks for and a cluster does in another way, in one text; the same task runs on a machine with it, so it is no refusal.
pub fn unhonoured(spec: &MeshTaskSpec) -> Option<String> {
    logs_unhonoured(&spec.logs)
}

fn supported(spec: &MeshTaskSpec, service: Option<&MeshService>) -> Result<(), Refusal> {
    let refuse = |message: String| Err(Refusal { reason: UNSUPPORTED, message });
    if let Some(http) = &spec.http {
        let port = service.and_then(|service| port(&service.spec)).unwrap_or(DEFAULT_PORT);
        return refuse(format!(
            "spec.http: a cluster runs no requests: give a template in its place, with an image that has curl and the command \
             [curl, --fail, --request, {}, http://{}:{port}{}]",
            http.method.as_str(),
            http.service,
            http.path.0
        ));
    }
    if spec.jitter.is_some() {
        return refuse("spec.jitter: a CronJob has none: leave it out, and give the tasks minutes that differ".to_owned());
    }
    let Some(schedule) = &spec.schedule else { return Ok(()) };
    let too_often = |what: &str| refuse(format!("spec.schedule: {schedule:?}: a CronJob starts once a minute at most: {what}"));
    if let Some(interval) = schedule.trim().strip_prefix("@every ") {
        let minute = std::time::Duration::from_secs(60);
        let is_shorter = interval.trim().parse::<Duration>().is_ok_and(|interval| interval.get() < minute);
        return if is_shorter { too_often("make the interval 1m or more") } else { Ok(()) };
    }
    if schedule.split_whitespace().count() == 6 {
        return too_often("write five fields, without the second (minute hour day-of-month month day-of-week)");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
