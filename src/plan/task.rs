//! A task and its runs: what a run is made of, what is told of it, and which runs are kept.
use std::{cmp::Reverse, collections::BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};

use crate::{
    template,
    validate::{Refusal, invalid, validate},
};
use mesh_api::{
    MeshInstance, MeshInstanceSpec, MeshService, MeshServiceSpec, MeshTask,
    conditions::task::{SERVICE_MISSING, SUCCEEDED},
    duration::Duration,
    env::EnvVar,
    instance::{InstanceState, TaskRun},
    labels, names,
    node::BackendKind,
    service::{Drain, Rollout, ServiceType, Strategy},
    task::{HttpTask, ServiceCommand, TaskRunStatus, TaskTemplate},
};

/// The service that a task needs, if it needs one.
pub fn service_of(task: &MeshTask) -> Option<&str> {
    let command = task.spec.service_ref.as_ref().map(|service| service.name.as_str());
    command.or_else(|| task.spec.http.as_ref().map(|http| http.service.as_str()))
}

/// What is run, as the spec of a service that would run it. `service` is the one that the task needs.
///
/// # Errors
/// What is wrong with the task, or that its service is not there; it names the field and the remedy.
pub fn program(task: &MeshTask, service: Option<&MeshService>, backend: BackendKind) -> Result<MeshServiceSpec, Refusal> {
    let spec = &task.spec;
    if let (Some(name), None) = (service_of(task), service) {
        let field = if spec.http.is_some() { "http.service" } else { "serviceRef.name" };
        let message = format!("spec.{field}: there is no MeshService {name:?} in this namespace: apply it, or name another one");
        return Err(Refusal { reason: SERVICE_MISSING, message });
    }
    let (program, place) = match (&spec.template, &spec.service_ref, service) {
        (Some(template), ..) => (of_template(template), "spec.template."),
        (None, Some(command), Some(service)) => (of_service(&service.spec, command), "spec.serviceRef: of its service, spec."),
        // A request is no program.
        _ if spec.http.is_some() => return Ok(worker()),
        _ => return invalid("spec: give one of template, serviceRef and http".to_owned()),
    };
    let placed = |refusal: Refusal| Refusal { message: refusal.message.replacen("spec.", place, 1), ..refusal };
    validate(&program, backend).map_err(placed)?;
    Ok(program)
}

fn worker() -> MeshServiceSpec {
    of_template(&TaskTemplate { termination_grace_period_seconds: 30, ..TaskTemplate::default() })
}

fn of_template(template: &TaskTemplate) -> MeshServiceSpec {
    let template = template.clone();
    MeshServiceSpec {
        type_: ServiceType::Worker,
        image: template.image,
        image_pull_policy: template.image_pull_policy,
        image_pull_secrets: template.image_pull_secrets,
        command: template.command,
        args: template.args,
        working_dir: template.working_dir,
        port: None,
        replicas: 1,
        env: template.env,
        env_from: template.env_from,
        route: None,
        routes: None,
        strategy: Strategy::default(),
        session_persistence: None,
        timeouts: None,
        retry: None,
        health_path: None,
        readiness_probe: None,
        liveness_probe: None,
        startup_probe: None,
        resources: template.resources,
        security_context: template.security_context,
        volumes: template.volumes,
        volume_mounts: template.volume_mounts,
        podman: template.podman,
        kubernetes: None,
        termination_grace_period_seconds: template.termination_grace_period_seconds,
        drain: Drain::default(),
        rollout: Rollout::default(),
        logs: mesh_api::service::Logs::default(),
    }
}

/// The service without all that has to do with requests, and with another command.
fn of_service(service: &MeshServiceSpec, command: &ServiceCommand) -> MeshServiceSpec {
    let own = |var: &&EnvVar| !command.env.iter().any(|given| given.name == var.name);
    MeshServiceSpec {
        type_: ServiceType::Worker,
        command: Some(command.command.clone()),
        args: command.args.clone(),
        env: service.env.iter().filter(own).chain(&command.env).cloned().collect(),
        port: None,
        route: None,
        routes: None,
        health_path: None,
        readiness_probe: None,
        liveness_probe: None,
        startup_probe: None,
        ..service.clone()
    }
}

/// Which run of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// Its name.
    pub name: String,
    /// Its time in the schedule.
    pub scheduled: Option<Timestamp>,
    /// The service of which a new revision waits for it.
    pub before: Option<String>,
    /// Arguments in the place of the task's own.
    pub args: Option<Vec<String>>,
}

/// The object of a run on a node.
pub fn run(task: &MeshTask, program: &MeshServiceSpec, which: Which, node: String) -> MeshInstance {
    let mut as_service = MeshService::new(&task.name_any(), program.clone());
    if let Some(args) = which.args {
        as_service.spec.args = args;
    }
    let revision = template::revision(&as_service);
    let name = task.name_any();
    let spec = MeshInstanceSpec {
        service: task.spec.service_ref.as_ref().map_or_else(|| name.clone(), |service| service.name.clone()),
        revision: revision.name.clone(),
        ordinal: 0,
        node_name: node,
        serves: false,
        port: None,
        drain_timeout: Duration::from_secs(0),
        logs: task.spec.logs.clone(),
        template: revision.template,
        run: Some(TaskRun {
            task: name.clone(),
            scheduled_time: which.scheduled.map(Time),
            before: which.before,
            backoff_limit: task.spec.backoff_limit,
            active_deadline_seconds: task.spec.active_deadline_seconds,
            cancelled: None,
            http: task.spec.http.clone(),
        }),
    };
    let mut run = MeshInstance::new(&which.name, spec);
    run.metadata.namespace = task.namespace();
    let own = [(labels::TASK, name.clone()), (labels::APP_NAME, name), (labels::APP_MANAGED_BY, labels::MANAGER.to_owned())];
    let part_of = task.labels().get(labels::APP_PART_OF).map(|value| (labels::APP_PART_OF, value.clone()));
    run.metadata.labels = Some(own.into_iter().chain(part_of).map(|(key, value)| (key.to_owned(), value)).collect());
    run.metadata.finalizers = Some(vec![labels::DRAIN_FINALIZER.to_owned()]);
    run.metadata.owner_references = task.controller_owner_ref(&()).map(|owner| vec![owner]);
    run
}

/// The name of the run that comes before a revision of a service: the same as long as neither of the two changes.
pub fn before(task: &MeshTask, service: &str, revision: &str) -> String {
    let generation = task.metadata.generation.unwrap_or(0);
    names::run(&task.name_any(), &format!("{}-{generation}", names::revision(format!("{service}/{revision}").as_bytes())))
}

/// Whether a run has come to its end.
pub fn is_finished(run: &MeshInstance) -> bool {
    run.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Whether it has come to a good one.
pub fn has_succeeded(run: &MeshInstance) -> bool {
    is_finished(run) && run.status.as_ref().is_some_and(|status| status.state == Some(InstanceState::Succeeded))
}

/// What is told of a run.
pub fn told(run: &MeshInstance) -> TaskRunStatus {
    let status = run.status.clone().unwrap_or_default();
    let message = status.conditions.last().filter(|condition| condition.reason != SUCCEEDED);
    TaskRunStatus {
        name: run.name_any(),
        state: status.state.unwrap_or(InstanceState::Pending),
        scheduled_time: run.spec.run.as_ref().and_then(|run| run.scheduled_time.clone()),
        start_time: run.creation_timestamp(),
        tries: if status.start_time.is_some() { status.restart_count.saturating_add(1) } else { 0 },
        exit_code: status.last_exit.as_ref().and_then(|exit| exit.exit_code),
        message: message.map(|condition| condition.message.clone()).unwrap_or_default(),
        completion_time: status.completion_time,
        last_words: status.last_words,
    }
}

/// All runs, newest first.
pub fn newest_first(mut runs: Vec<MeshInstance>) -> Vec<MeshInstance> {
    let scheduled = |run: &MeshInstance| run.spec.run.as_ref().and_then(|run| run.scheduled_time.as_ref().map(|time| time.0));
    runs.sort_by_key(|run| Reverse((run.creation_timestamp().map(|time| time.0), scheduled(run), run.name_any())));
    runs
}

/// The finished runs that are more than the task keeps; `runs` are newest first. What a service's rollout waited for last is kept: it would be made again.
pub fn surplus<'a>(task: &MeshTask, runs: &'a [MeshInstance]) -> Vec<&'a MeshInstance> {
    let limit = |limit: i32| usize::try_from(limit).unwrap_or(0);
    let mut waited_for = BTreeSet::new();
    let mut is_last = |run: &MeshInstance| run.spec.run.as_ref().and_then(|run| run.before.clone()).is_some_and(|service| waited_for.insert(service));
    let (good, bad): (Vec<_>, Vec<_>) = runs.iter().filter(|run| !is_last(run) && is_finished(run)).partition(|run| has_succeeded(run));
    let good = good.into_iter().skip(limit(task.spec.successful_jobs_history_limit));
    let surplus = good.chain(bad.into_iter().skip(limit(task.spec.failed_jobs_history_limit)));
    surplus.filter(|run| run.metadata.deletion_timestamp.is_none()).collect()
}

/// The request that a run makes, if it runs no program.
pub fn request(run: &MeshInstance) -> Option<&HttpTask> {
    run.spec.run.as_ref()?.http.as_ref()
}
