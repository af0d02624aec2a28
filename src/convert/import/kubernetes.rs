//! Deployments of Kubernetes, with the Services and Ingresses that lead to them, as MeshServices.
//! What a MeshService has no field for goes into `spec.kubernetes.podTemplate`, so that a cluster gets the same pods.
mod container;
mod deployment;
mod known;
mod pod;
mod routing;

use serde_json::Value;

use super::{
    draft::{Book, Outcome},
    finish::clean,
    input::Input,
};
use crate::Result;

/// One object of the input.
pub(super) struct Object {
    input: usize,
    document: usize,
    /// `items[2].` in a List.
    prefix: String,
    kind: String,
    value: Value,
    /// What stood in it and is no field of its kind.
    unknown: Vec<String>,
}

impl Object {
    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    fn path(&self, field: &str) -> String {
        format!("{}{field}", self.prefix)
    }
}

/// Imports files.
pub(super) fn import(mut inputs: Vec<Input>, outcome: &mut Outcome) -> Result {
    let mut objects = Vec::new();
    for (index, input) in inputs.iter_mut().enumerate() {
        for (document, value) in input.documents()?.into_iter().enumerate() {
            if value.get("kind").and_then(Value::as_str).is_none() {
                return Err(input.refuse(input.line(document, ""), "this document has no kind, so it is no object of Kubernetes"));
            }
            add(index, document, String::new(), value, &mut objects);
        }
    }
    for object in &mut objects {
        let Some(input) = inputs.get(object.input) else { continue };
        object.unknown = known::known(&mut object.value, &object.kind)
            .map_err(|(field, what)| input.refuse(input.line(object.document, &object.path(&field)), &format!("{field}: {what}")))?;
    }
    for object in &objects {
        let Some(input) = inputs.get(object.input) else { continue };
        let mut book = Book::new(input, object.document, None);
        match object.kind.as_str() {
            "Deployment" => {
                book.service = Some(super::draft::label(object.name()));
                outcome.drafts.push(deployment::deployment(object, &objects, &inputs, &mut book));
            }
            "Service" | "Ingress" => routing::unused(object, &objects, &mut book),
            "ConfigMap" | "Secret" => outcome.objects.push(clean(object.value.clone())),
            kind => book.lost(&object.path("kind"), format!("{kind} {}: {}", object.name(), other(kind))),
        }
        for field in &object.unknown {
            let explain = format!("kubectl explain {} --recursive", object.kind.to_lowercase());
            book.lost(&object.path(field), format!("{field}: a {} has no such field: look for it with `{explain}`", object.kind));
        }
        book.close(outcome);
    }
    Ok(())
}

/// What becomes of other kinds.
fn other(kind: &str) -> &'static str {
    match kind {
        "StatefulSet" => "its instances have names and volumes of their own, which a MeshService's have not: keep it in the cluster",
        "DaemonSet" => "there is no one per node here: keep it in the cluster",
        "Job" | "CronJob" => "it runs to its end, and services run on: keep it in the cluster",
        "HorizontalPodAutoscaler" => {
            "keep it: the Deployment that is made has the MeshService's name, and its replicas are left to the autoscaler"
        }
        "PodDisruptionBudget" => "one is made for each service with more than one replica",
        "PersistentVolumeClaim" => "apply it yourself: the MeshService refers to it by name",
        "ServiceAccount" | "Role" | "RoleBinding" | "ClusterRole" | "ClusterRoleBinding" => {
            "apply it yourself: spec.kubernetes.podTemplate refers to it by name"
        }
        "Namespace" => "apply it yourself",
        "HTTPRoute" | "Gateway" | "VirtualService" | "IngressRoute" => "write its hosts and paths into spec.routes",
        "NetworkPolicy" | "ServiceMonitor" | "PodMonitor" => "keep it: the pods keep their labels",
        _ => "it is no part of a MeshService: apply it yourself",
    }
}

fn add(input: usize, document: usize, prefix: String, mut value: Value, objects: &mut Vec<Object>) {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind.ends_with("List")
        && let Some(Value::Array(items)) = value.get_mut("items").map(Value::take)
    {
        for (index, item) in items.into_iter().enumerate() {
            add(input, document, format!("{prefix}items[{index}]."), item, objects);
        }
        return;
    }
    objects.push(Object { input, document, prefix, kind, value, unknown: Vec::new() });
}
