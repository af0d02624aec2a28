//! One service or task as objects that need nothing of ours: what the Kubernetes backend renders, without our labels, owners and hook.
use k8s_openapi::api::core::v1::{EnvVarSource, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodSpec, SleepAction};
use kube::{ResourceExt, core::ObjectMeta};
use serde_json::{Map, Value, json};

use super::{ingress, lost::Lost, references::References};
use mesh_api::{MeshService, MeshServiceSpec, MeshTask, labels, names::CONTAINER, node::BackendKind};
use mesh_backend::kubernetes::render::{Objects, Surroundings, objects, task as render};
use mesh_plan::{task, template::serves};

/// How long a pod that is to end goes on, so that nobody sends it anything new: what a cluster has in the place of the acknowledged drain.
const SLEEP_SECONDS: i64 = 5;

/// The schedule of a task that has none: its CronJob is suspended.
const NEVER: &str = "@yearly";

/// The label that finds pods here.
const REVISION_LABEL: &str = "metadata.labels['pod-template-hash']";

/// What something is that is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Task,
}

/// The objects of a service or a task.
#[derive(Debug, Clone)]
pub struct Native {
    pub(super) kind: Kind,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub namespace: String,
    /// In the order in which they are printed.
    pub(super) objects: Vec<Value>,
    /// What its objects refer to.
    pub references: References,
    pub(super) lost: Vec<Lost>,
    /// How many pods use each claim: all of them.
    pub(super) replicas: i32,
}

/// The objects of a service.
///
/// # Errors
/// Why it has none: begins with the field.
pub fn native(service: &MeshService) -> Result<Native, String> {
    if service.spec.image.is_none() {
        return Err(
            "spec.image: it runs as a process of this machine, and a cluster runs images: make one, and give it in spec.image".to_owned()
        );
    }
    let bare = MeshService { metadata: bare(&service.metadata), spec: service.spec.clone(), status: None };
    let Objects { revision: _, mut deployment, services, budget, account } =
        objects(&bare, &Surroundings::default()).map_err(|refusal| refusal.message)?;
    let waits = deployment.spec.template.spec.as_mut().is_some_and(|pod| wait(pod, &service.spec));
    deployment.spec.template.spec.iter_mut().for_each(name_revisions);

    let values = [account.map(value), Some(value(deployment)), budget.map(value)].into_iter().flatten();
    let ingress = ingress::ingress(&bare);
    let objects = values.chain(services.into_iter().map(value)).chain(ingress).collect();
    let lost = super::lost::lost(service, waits.then_some(SLEEP_SECONDS));
    Ok(Native { replicas: service.spec.replicas, ..made(service, Kind::Service, objects, lost) })
}

/// The objects of a task; `service` is the one in whose place it runs.
///
/// # Errors
/// Why it has none: begins with the field.
pub fn of_task(task: &MeshTask, service: Option<&MeshService>) -> Result<Native, String> {
    let mut bare = MeshTask { metadata: bare(&task.metadata), spec: task.spec.clone(), status: None };
    if bare.spec.schedule.is_none() {
        bare.spec.schedule = Some(NEVER.to_owned());
        bare.spec.suspend = true;
    }
    let program = task::program(task, service, BackendKind::Kubernetes).map_err(|refusal| refusal.message)?;
    let render::Objects { mut cron_job, .. } = render::objects(&bare, service, None).map_err(|refusal| refusal.message)?;
    let pods = cron_job.iter_mut().filter_map(|made| made.spec.job_template.spec.as_mut()?.template.metadata.as_mut()?.labels.as_mut());
    // A service of the same name finds its pods by it.
    pods.for_each(|labels| drop(labels.remove(labels::APP_NAME)));
    Ok(made(task, Kind::Task, cron_job.map(value).into_iter().collect(), super::lost::of_task(task, &program)))
}

fn made(of: &impl ResourceExt, kind: Kind, mut objects: Vec<Value>, lost: Vec<Lost>) -> Native {
    objects.iter_mut().for_each(own_labels_away);
    let references = objects.iter().fold(References::default(), |all, object| all.and(&References::of(object)));
    Native { kind, name: of.name_any(), namespace: of.namespace().unwrap_or_default(), objects, references, lost, replicas: 1 }
}

/// Neither a uid, which would make it the objects' owner, nor the annotation of a restart.
fn bare(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        labels: metadata.labels.clone(),
        ..ObjectMeta::default()
    }
}

fn value(object: impl serde::Serialize) -> Value {
    // Kubernetes' types have maps with strings for keys only, so this cannot fail.
    serde_json::to_value(object).unwrap_or_default()
}

/// Has pods go on for a while before they are told to end; false where the service wants no drain, or has a hook or a time of its own.
fn wait(pod: &mut PodSpec, spec: &MeshServiceSpec) -> bool {
    let own_grace = pod.termination_grace_period_seconds != Some(spec.termination_grace_period_seconds);
    let Some(app) = pod.containers.iter_mut().find(|container| container.name == CONTAINER) else { return false };
    let hooked = app.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
    if !serves(spec) || spec.drain.timeout.get().is_zero() || hooked || own_grace {
        return false;
    }
    let sleep = LifecycleHandler { sleep: Some(SleepAction { seconds: SLEEP_SECONDS }), ..LifecycleHandler::default() };
    app.lifecycle.get_or_insert_with(Lifecycle::default).pre_stop = Some(sleep);
    // The time that it sleeps is a part of the grace, and must be less than it.
    pod.termination_grace_period_seconds = Some(spec.termination_grace_period_seconds.saturating_add(SLEEP_SECONDS + 1));
    true
}

/// Nobody names revisions here but the Deployment.
fn name_revisions(pod: &mut PodSpec) {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: REVISION_LABEL.to_owned() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    let vars = pod.containers.iter_mut().flat_map(|container| container.env.iter_mut().flatten());
    for var in vars.filter(|var| var.name == "MESH_REVISION") {
        (var.value, var.value_from) = (None, Some(source.clone()));
    }
}

/// Our labels mean something to our routers and controllers; here pods are found by the recommended one.
fn own_labels_away(value: &mut Value) {
    match value {
        Value::Object(map) => {
            labels_away(map);
            map.values_mut().for_each(own_labels_away);
            map.retain(|key, value| !(key == "labels" && value.as_object().is_some_and(Map::is_empty)));
        }
        Value::Array(list) => list.iter_mut().for_each(own_labels_away),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn labels_away(map: &mut Map<String, Value>) {
    if let Some(name) = map.remove(labels::SERVICE) {
        map.insert(labels::APP_NAME.to_owned(), name);
    }
    map.remove(labels::REVISION);
    map.remove(labels::TASK);
    if map.get(labels::APP_MANAGED_BY).is_some_and(|by| by == labels::MANAGER) {
        map.remove(labels::APP_MANAGED_BY);
    }
    // `matchExpressions`.
    if map.get("key").is_some_and(|key| key == labels::SERVICE) {
        map.insert("key".to_owned(), json!(labels::APP_NAME));
    }
}
