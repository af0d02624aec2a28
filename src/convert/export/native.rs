//! One service as objects that need nothing of ours: what the Kubernetes backend renders, without our labels, owners and hook.
use k8s_openapi::api::core::v1::{Lifecycle, LifecycleHandler, PodSpec, SleepAction};
use kube::{ResourceExt, core::ObjectMeta};
use serde_json::{Map, Value, json};

use super::{ingress, lost::Lost, references::References};
use mesh_api::{MeshService, MeshServiceSpec, labels, names::CONTAINER};
use mesh_backend::kubernetes::render::{Objects, Surroundings, objects};
use mesh_plan::template::serves;

/// How long a pod that is to end goes on, so that nobody sends it anything new: what a cluster has in the place of the acknowledged drain.
const SLEEP_SECONDS: i64 = 5;

/// The label that finds pods here.
const REVISION_LABEL: &str = "metadata.labels['pod-template-hash']";

/// A service's objects.
#[derive(Debug, Clone)]
pub struct Native {
    /// Its name.
    pub service: String,
    /// Where it is.
    pub namespace: String,
    /// In the order in which they are printed.
    pub(super) objects: Vec<Value>,
    /// What its objects refer to.
    pub references: References,
    pub(super) lost: Vec<Lost>,
    /// How many pods use each claim: all of the service's.
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
    let bare = MeshService {
        // Neither its uid, which would make it the objects' owner, nor the annotation of a restart.
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: service.metadata.labels.clone(),
            ..ObjectMeta::default()
        },
        spec: service.spec.clone(),
        status: None,
    };
    let Objects { revision: _, mut deployment, services, budget, account } =
        objects(&bare, &Surroundings::default()).map_err(|refusal| refusal.message)?;
    let waits = deployment.spec.template.spec.as_mut().is_some_and(|pod| wait(pod, &service.spec));

    let values = [account.map(value), Some(value(deployment)), budget.map(value)].into_iter().flatten();
    let ingress = ingress::ingress(&bare);
    let mut objects: Vec<Value> = values.chain(services.into_iter().map(value)).chain(ingress).collect();
    objects.iter_mut().for_each(own_labels_away);
    let references = objects.iter().fold(References::default(), |all, object| all.and(&References::of(object)));
    let lost = super::lost::lost(service, waits.then_some(SLEEP_SECONDS));
    let (service, namespace, replicas) = (service.name_any(), service.namespace().unwrap_or_default(), service.spec.replicas);
    Ok(Native { service, namespace, objects, references, lost, replicas })
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

/// Our labels mean something to our routers and controllers; here pods are found by the recommended one.
fn own_labels_away(value: &mut Value) {
    match value {
        Value::Object(map) => {
            labels_away(map);
            map.values_mut().for_each(own_labels_away);
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
    if map.get(labels::APP_MANAGED_BY).is_some_and(|by| by == labels::MANAGER) {
        map.remove(labels::APP_MANAGED_BY);
    }
    // `matchExpressions`.
    if map.get("key").is_some_and(|key| key == labels::SERVICE) {
        map.insert("key".to_owned(), json!(labels::APP_NAME));
    }
    // Nobody names revisions here but the Deployment.
    if map.get("name").is_some_and(|name| name == "MESH_REVISION") && map.contains_key("value") {
        map.remove("value");
        map.insert("valueFrom".to_owned(), json!({"fieldRef": {"apiVersion": "v1", "fieldPath": REVISION_LABEL}}));
    }
}
