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
    http::HttpTask,
    instance::{InstanceState, TaskRun},
    labels, names,
    node::BackendKind,
    service::{Drain, Rollout, ServiceType, Strategy},
    task::{ConcurrencyPolicy, ServiceCommand, TaskRunStatus, TaskTemplate},
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
    let program = match (&spec.template, &spec.service_ref, service) {
        (Some(template), ..) => of_template(template),
        (None, Some(command), Some(service)) => of_service(&service.spec, command),
        // A request is no program.
        _ if spec.http.is_some() => return Ok(worker()),
        _ => return invalid("spec: give one of template, serviceRef and http".to_owned()),
    };
    validate(&program, backend).map_err(|refusal| Refusal { message: placed(task, &refusal.message), ..refusal })?;
    Ok(program)
}

/// What is said of a field of the program, of the field of the task that it comes from.
pub fn placed(task: &MeshTask, message: &str) -> String {
    if task.spec.template.is_some() {
        in_task(message, false)
    } else {
        message.replacen("spec.", "spec.serviceRef: of its service, spec.", 1)
    }
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

/// The object of a run on a node. `service` is the one that the task needs: a command in a service is of that service's revision.
pub fn run(task: &MeshTask, program: &MeshServiceSpec, service: Option<&MeshService>, which: Which, node: String) -> MeshInstance {
    let mut as_service = MeshService::new(&task.name_any(), program.clone());
    if let Some(args) = which.args {
        as_service.spec.args = args;
    }
    let revision = template::revision(&as_service);
    let of_service = service.filter(|_| task.spec.service_ref.is_some()).map(|service| template::revision(service).name);
    let name = task.name_any();
    let spec = MeshInstanceSpec {
        service: task.spec.service_ref.as_ref().map_or_else(|| name.clone(), |service| service.name.clone()),
        revision: of_service.unwrap_or(revision.name),
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

/// The name of the run that comes before a revision of a service: the same as long as neither of the two changes. One that was deleted and made again is another.
pub fn before(task: &MeshTask, service: &MeshService, revision: &str) -> String {
    let (generation, name, uid) = (task.metadata.generation.unwrap_or(0), service.name_any(), service.uid().unwrap_or_default());
    names::run(&task.name_any(), &format!("before-{}", names::number(format!("{name}/{uid}/{revision}/{generation}").as_bytes())))
}

/// A run, as the rollout of a service sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its task.
    pub task: String,
    /// What is told of it.
    pub told: TaskRunStatus,
    /// What it is for, and whether it goes on.
    pub standing: Standing,
}

/// What is to be done about the run that comes before a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum First {
    /// It is there, and this is told of it.
    There(TaskRunStatus),
    /// It is to be made.
    Make,
    /// This one comes first, and these are to be ended.
    After(Seen, Vec<String>),
}

/// What is to be done about the run of that name, which a revision of a service waits for. `runs` are those of all tasks of the namespace.
///
/// An earlier revision's is let come to its end, for a migration that is broken off half way is worse than one that is not wanted any more; unless the
/// task says Replace, or its program is not running: then it is not tried again.
pub fn first(task: &MeshTask, service: &str, name: &str, runs: &[Seen]) -> First {
    if let Some(run) = runs.iter().find(|run| run.told.name == name) {
        return First::There(run.told.clone());
    }
    let policy = task.spec.concurrency_policy;
    let of_service = |run: &Seen| run.standing.before.as_deref() == Some(service);
    let of_task = |run: &Seen| policy != ConcurrencyPolicy::Allow && run.task == task.name_any();
    let going = runs.iter().filter(|run| run.standing.end.is_none() && (of_service(run) || of_task(run)));
    let going: Vec<&Seen> = going.collect();
    let ends = |run: &Seen| match policy {
        ConcurrencyPolicy::Replace => of_service(run) || run.told.scheduled_time.is_some(),
        ConcurrencyPolicy::Allow | ConcurrencyPolicy::Forbid => of_service(run) && is_idle(run),
    };
    let end = going.iter().filter(|run| ends(run)).map(|run| run.told.name.clone()).collect();
    going.first().map_or(First::Make, |run| First::After((*run).clone(), end))
}

/// The runs for revisions of a service that nobody wants any more: they are to be ended, unless their program is running and is let come to its end.
pub fn withdrawn(policy: ConcurrencyPolicy, service: &str, runs: &[Seen]) -> Vec<String> {
    let of_service = |run: &&Seen| run.standing.end.is_none() && run.standing.before.as_deref() == Some(service);
    let ends = |run: &&Seen| policy == ConcurrencyPolicy::Replace || is_idle(run);
    runs.iter().filter(of_service).filter(ends).map(|run| run.told.name.clone()).collect()
}

/// Whether its program is not running, or not yet.
const fn is_idle(run: &Seen) -> bool {
    matches!(run.told.state, InstanceState::Pending | InstanceState::BackOff)
}

/// A run on a node, as the rollout of a service sees it.
pub fn seen(run: &MeshInstance) -> Seen {
    let task = run.spec.run.as_ref().map(|run| run.task.clone()).unwrap_or_default();
    Seen { task, told: told(run), standing: standing(run) }
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
    let has_service = run.spec.run.as_ref().is_some_and(|told| told.task != run.spec.service);
    TaskRunStatus {
        name: run.name_any(),
        state: status.state.unwrap_or(InstanceState::Pending),
        scheduled_time: run.spec.run.as_ref().and_then(|run| run.scheduled_time.clone()),
        start_time: run.creation_timestamp(),
        tries: if status.start_time.is_some() { status.restart_count.saturating_add(1) } else { 0 },
        exit_code: status.last_exit.as_ref().and_then(|exit| exit.exit_code),
        message: message.map(|condition| in_task(&condition.message, has_service)).unwrap_or_default(),
        completion_time: status.completion_time,
        last_words: status.last_words,
    }
}

/// Words about the fields of a service, for one who has a task: they are in its template, or, of one with a command in a service, in its `serviceRef`.
pub fn in_task(words: &str, has_service: bool) -> String {
    if !has_service {
        return words.replace("spec.", "spec.template.");
    }
    // The other fields are the service's.
    ["command", "args"]
        .iter()
        .fold(words.to_owned(), |words, field| words.replace(&format!("spec.{field}"), &format!("spec.serviceRef.{field}")))
}

/// All runs, newest first.
pub fn newest_first(mut runs: Vec<MeshInstance>) -> Vec<MeshInstance> {
    let scheduled = |run: &MeshInstance| run.spec.run.as_ref().and_then(|run| run.scheduled_time.as_ref().map(|time| time.0));
    runs.sort_by_key(|run| Reverse((run.creation_timestamp().map(|time| time.0), scheduled(run), run.name_any())));
    runs
}

/// What it depends on whether a run is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The service of which a new revision waits for it.
    pub before: Option<String>,
    /// Whether its end was a good one; none as long as it goes on.
    pub end: Option<bool>,
}

/// How a run on a node stands.
pub fn standing(run: &MeshInstance) -> Standing {
    let before = run.spec.run.as_ref().and_then(|run| run.before.clone());
    Standing { before, end: is_finished(run).then(|| has_succeeded(run)) }
}

/// The finished runs that are more than the task keeps; `runs` are newest first. What a service's rollout waited for last is kept: it would be made again.
pub fn surplus<'a, R: Resource>(task: &MeshTask, runs: &'a [R], standing: impl Fn(&R) -> Standing) -> Vec<&'a R> {
    let limit = |limit: i32| usize::try_from(limit).unwrap_or(0);
    let mut waited_for = BTreeSet::new();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for run in runs {
        let Standing { before, end } = standing(run);
        match end {
            _ if before.is_some_and(|service| waited_for.insert(service)) => {}
            Some(true) => good.push(run),
            Some(false) => bad.push(run),
            None => {}
        }
    }
    let good = good.into_iter().skip(limit(task.spec.successful_jobs_history_limit));
    let surplus = good.chain(bad.into_iter().skip(limit(task.spec.failed_jobs_history_limit)));
    surplus.filter(|run| run.meta().deletion_timestamp.is_none()).collect()
}

/// The request that a run makes, if it runs no program.
pub fn request(run: &MeshInstance) -> Option<&HttpTask> {
    run.spec.run.as_ref()?.http.as_ref()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::{at, instance, service};
    use InstanceState::{Failed, Running, Succeeded};

    fn task(spec: &Value) -> MeshTask {
        let metadata = json!({ "name": "nightly", "namespace": "shop", "uid": "t", "generation": 3 });
        serde_json::from_value(
            json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask", "metadata": metadata, "spec": spec }),
        )
        .unwrap()
    }

    fn which(name: &str) -> Which {
        Which { name: name.to_owned(), scheduled: None, before: None, args: None }
    }

    #[test]
    fn what_is_wrong_with_a_field_names_its_place_in_the_task() {
        let image = task(&json!({ "template": { "image": "a" } }));
        let refused = program(&image, None, BackendKind::Process).unwrap_err().message;
        assert!(refused.starts_with("spec.template.image: ") && refused.contains("give spec.template.command"), "{refused}");
        let of = |service: &str| {
            let mut run = instance("r", 0);
            run.spec.service = service.to_owned();
            run.spec.run = Some(serde_json::from_value(json!({ "task": "nightly", "backoffLimit": 0 })).unwrap());
            let condition = json!({
                "type": "Ready", "status": "False", "reason": "StartFailed", "lastTransitionTime": at(0).to_string(),
                "message": "give spec.command; look at spec.image",
            });
            run.status.get_or_insert_default().conditions = vec![serde_json::from_value(condition).unwrap()];
            told(&run).message
        };
        assert_eq!(of("nightly"), "give spec.template.command; look at spec.template.image");
        assert_eq!(of("web"), "give spec.serviceRef.command; look at spec.image");
    }

    #[test]
    fn a_command_in_a_service_has_its_environment_and_nothing_that_has_to_do_with_requests() {
        let task = task(&json!({ "serviceRef": { "name": "web", "command": ["migrate"], "env": [{ "name": "A", "value": "mine" }] } }));
        let web = service(json!({
            "port": 80, "args": ["--serve"], "healthPath": "/h", "workingDir": "x", "route": "/",
            "env": [{ "name": "A", "value": "its" }, { "name": "B", "value": "its" }],
        }));
        let program = program(&task, Some(&web), BackendKind::Process).unwrap();
        let made = run(&task, &program, Some(&web), which("nightly-1"), "here".to_owned());
        let template = &made.spec.template;
        assert_eq!(
            (template.command.join(" "), template.args.len(), template.working_dir.as_deref()),
            ("migrate".to_owned(), 0, Some("x"))
        );
        let env: Vec<_> = template.env.iter().map(|var| (var.name.as_str(), var.value.as_deref().unwrap())).collect();
        assert_eq!(env, [("B", "its"), ("A", "mine")]);
        assert_eq!((template.port, &template.readiness_probe, made.spec.serves), (None, &None, false));
        assert_eq!((made.spec.service.as_str(), made.labels().get(labels::SERVICE)), ("web", None), "it is no copy of the service");
        assert_eq!(made.spec.revision, template::revision(&web).name, "it has its image and environment");
    }

    #[test]
    fn what_is_wrong_is_told_by_the_tasks_own_field() {
        let message = |spec: Value, backend| program(&task(&spec), None, backend).unwrap_err().message;
        let image = json!({ "template": { "image": "web:1" } });
        assert!(message(image, BackendKind::Process).starts_with("spec.template.image: the process backend runs no images"));
        let command = json!({ "template": { "command": ["x"] } });
        assert!(message(command, BackendKind::Podman).starts_with("spec.template.image: this backend runs containers"));
        let of_service = json!({ "serviceRef": { "name": "web", "command": ["x"] } });
        assert!(message(of_service, BackendKind::Process).starts_with("spec.serviceRef.name: there is no MeshService \"web\""));
        let http = json!({ "http": { "service": "web", "path": "/" } });
        assert!(message(http, BackendKind::Process).starts_with("spec.http.service: there is no MeshService \"web\""));
    }

    #[test]
    fn arguments_of_ones_own_take_the_place_of_the_tasks() {
        let task = task(&json!({ "template": { "command": ["x"], "args": ["a"] } }));
        let program = program(&task, None, BackendKind::Process).unwrap();
        let args =
            |args: Option<Vec<String>>| run(&task, &program, None, Which { args, ..which("r") }, "here".to_owned()).spec.template.args;
        assert_eq!((args(None), args(Some(vec!["b".to_owned()]))), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn so_many_finished_runs_are_kept_as_the_limits_say_and_what_a_rollout_waited_for_last() {
        let task = task(&json!({ "template": { "command": ["x"] }, "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1 }));
        let made = |name: &str, second: i64, state: InstanceState, before: Option<&str>| {
            let mut run = instance("a", 0);
            run.metadata.name = Some(name.to_owned());
            run.metadata.creation_timestamp = Some(Time(at(second)));
            run.spec.run = Some(serde_json::from_value(json!({ "task": "nightly", "backoffLimit": 0, "before": before })).unwrap());
            let over = matches!(state, Succeeded | Failed);
            run.status = Some(mesh_api::MeshInstanceStatus {
                state: Some(state),
                completion_time: over.then(|| Time(at(second))),
                ..mesh_api::MeshInstanceStatus::default()
            });
            run
        };
        let runs = newest_first(vec![
            made("a", 1, Failed, Some("web")),
            made("b", 2, Failed, Some("web")),
            made("c", 3, Succeeded, None),
            made("d", 4, Running, None),
            made("e", 5, Succeeded, None),
            made("f", 6, Failed, None),
        ]);
        let names: Vec<_> = surplus(&task, &runs, standing).iter().map(|run| run.name_any()).collect();
        assert_eq!(names, ["c", "a"]);
    }

    /// A run of a task: what it is for, and how it stands.
    fn a_run(task: &str, name: &str, before: Option<&str>, state: InstanceState) -> Seen {
        let end = matches!(state, Succeeded | Failed).then_some(state == Succeeded);
        let scheduled = before.is_none().then_some("2026-11-28T13:00:00Z");
        let told = json!({ "name": name, "state": state, "scheduledTime": scheduled });
        let told = serde_json::from_value(told).unwrap();
        Seen { task: task.to_owned(), told, standing: Standing { before: before.map(ToOwned::to_owned), end } }
    }

    #[test]
    fn two_runs_for_the_rollouts_of_one_service_never_go_on_at_once() {
        let make = |policy: &str, runs: &[Seen]| {
            let task = task(&json!({ "template": { "command": ["x"] }, "concurrencyPolicy": policy }));
            match first(&task, "web", "new", runs) {
                First::There(told) => format!("{} is {:?}", told.name, told.state),
                First::Make => "make it".to_owned(),
                First::After(run, end) if end.is_empty() => format!("after {}", run.told.name),
                First::After(run, end) => format!("after {}, end {}", run.told.name, end.join(" ")),
            }
        };
        let run = |name: &str, state| a_run("nightly", name, Some("web"), state);
        let (earlier, idle, over) = (run("a", Running), run("a", InstanceState::BackOff), run("a", Succeeded));
        let (of_other, of_schedule) = (a_run("nightly", "b", Some("api"), Running), a_run("nightly", "c", None, Running));
        let (other_task, before) = (a_run("hourly", "d", None, Running), a_run("hourly", "e", Some("web"), Running));
        for (runs, allow, forbid, replace) in [
            (vec![], "make it", "make it", "make it"),
            (vec![run("new", Running), earlier.clone()], "new is Running", "new is Running", "new is Running"),
            (vec![over, other_task], "make it", "make it", "make it"),
            (vec![earlier.clone()], "after a", "after a", "after a, end a"),
            (vec![idle], "after a, end a", "after a, end a", "after a, end a"),
            (vec![before], "after e", "after e", "after e, end e"),
            (vec![of_other.clone()], "make it", "after b", "after b"),
            (vec![of_schedule], "make it", "after c", "after c, end c"),
            (vec![of_other, earlier], "after a", "after b", "after b, end a"),
        ] {
            let names: Vec<&str> = runs.iter().map(|run| run.told.name.as_str()).collect();
            assert_eq!([make("Allow", &runs), make("Forbid", &runs), make("Replace", &runs)], [allow, forbid, replace], "{names:?}");
        }
    }

    #[test]
    fn a_run_for_a_revision_that_nobody_wants_any_more_is_not_tried_again() {
        let runs = [
            a_run("nightly", "running", Some("web"), Running),
            a_run("nightly", "idle", Some("web"), InstanceState::BackOff),
            a_run("nightly", "over", Some("web"), Succeeded),
            a_run("nightly", "failed", Some("web"), Failed),
            a_run("nightly", "another's", Some("api"), InstanceState::BackOff),
            a_run("nightly", "the schedule's", None, InstanceState::BackOff),
        ];
        assert_eq!(withdrawn(ConcurrencyPolicy::Forbid, "web", &runs), ["idle"]);
        assert_eq!(withdrawn(ConcurrencyPolicy::Replace, "web", &runs), ["running", "idle"]);
    }

    #[test]
    fn the_run_before_a_rollout_is_the_same_until_the_task_or_the_service_changes() {
        let one = task(&json!({ "template": { "command": ["x"] } }));
        let mut changed = one.clone();
        changed.metadata.generation = Some(4);
        let service = |name: &str, uid: &str| {
            let mut service = MeshService::new(name, worker());
            service.metadata.uid = Some(uid.to_owned());
            service
        };
        let (web, revision) = (service("web", "u-1"), "0a1b2c3d");
        let name = before(&one, &web, revision);
        assert_eq!(before(&one, &web, revision), name);
        let (api, again) = (service("api", "u-1"), service("web", "u-2"));
        for other in
            [before(&changed, &web, revision), before(&one, &web, "11111111"), before(&one, &api, revision), before(&one, &again, revision)]
        {
            assert_ne!(other, name);
        }
        let mut long = one;
        long.metadata.name = Some("x".repeat(52));
        assert!(before(&long, &web, revision).len() <= 63);
    }
}
