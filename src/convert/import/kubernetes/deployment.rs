//! One Deployment.
use serde_json::{Map, Value, json};

use super::{Object, pod, routing};
use crate::import::{
    draft::{Book, Draft, inner, label},
    fields::Fields,
    input::Input,
    loosen,
};

/// Makes the draft.
pub(super) fn deployment(object: &Object, objects: &[Object], inputs: &[Input], book: &mut Book<'_>) -> Draft {
    let mut draft = Draft { name: label(object.name()), ..Draft::default() };
    let namespace = object.namespace();
    draft.namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    let path = object.path("metadata.name");
    if draft.name == object.name() {
        book.said(
            &path,
            format!("the Deployment {} is not ours: kubectl delete deployment {0} before this is applied in its namespace", draft.name),
        );
    } else {
        book.said(&path, format!("{} is called {} here", object.name(), draft.name));
    }
    metadata(object, &mut draft, book);
    let mut spec = Fields::new(object.path("spec"), object.value.get("spec").cloned().unwrap_or_default());
    if let Some(replicas) = spec.number("replicas") {
        draft.set("replicas", replicas);
    }
    rollout(&mut spec, &mut draft, book);
    let mut template = spec.inner("template").unwrap_or_default();
    let labels = template_metadata(&mut template, &mut draft, book);
    let services = routing::services(object, &labels, objects);
    let wanted = routing::target_port(&services);
    pod::pod(template.inner("spec").unwrap_or_default(), object.name(), wanted.as_ref(), &mut draft, book);
    routing::routes(&services, objects, inputs, &mut draft, book);
    for (path, key, _) in template.left().into_iter().chain(spec.left()) {
        match key.as_str() {
            "selector" => book.moot("spec.selector (the pods' label mesh-controller.dev/service)"),
            "minReadySeconds" => book.lost(&path, "minReadySeconds: an instance counts as soon as it is ready"),
            "paused" => book.lost(&path, "paused: a rollout cannot be paused"),
            _ => book.lost(&path, format!("{key} has no counterpart")),
        }
    }
    loosen::note(&draft, &object.path("spec.template.spec"), book);
    draft
}

fn metadata(object: &Object, draft: &mut Draft, book: &mut Book<'_>) {
    let mut fields = Fields::new(object.path("metadata"), object.value.get("metadata").cloned().unwrap_or_default());
    let labels = fields.inner("labels").map(Fields::rest).unwrap_or_default();
    draft.labels = labels.into_iter().filter(|(key, _)| !key.starts_with("helm.sh/") && key != "app.kubernetes.io/managed-by").collect();
    for (path, key, _) in fields.inner("annotations").map(Fields::left).unwrap_or_default() {
        if key.starts_with("deployment.kubernetes.io/") || key.starts_with("kubectl.kubernetes.io/") || key.starts_with("meta.helm.sh/") {
            book.moot(format!("metadata.annotations: {key}"));
        } else {
            book.lost(
                &path,
                format!("metadata.annotations: {key} of the Deployment: put it on the MeshService if something reads it there"),
            );
        }
    }
}

/// Labels and annotations of the pods stay, for those who select by them; returns the labels.
fn template_metadata(template: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) -> Map<String, Value> {
    let Some(mut fields) = template.inner("metadata") else { return Map::new() };
    let labels = fields.inner("labels").map(Fields::rest).unwrap_or_default();
    let kept: Map<String, Value> =
        labels.clone().into_iter().filter(|(key, _)| !key.starts_with("app.kubernetes.io/") && key != "pod-template-hash").collect();
    let mut annotations = fields.inner("annotations").map(Fields::rest).unwrap_or_default();
    if annotations.remove("kubectl.kubernetes.io/restartedAt").is_some() {
        book.moot("spec.template.metadata.annotations: kubectl.kubernetes.io/restartedAt");
    }
    for (key, map) in [("labels", kept), ("annotations", annotations)] {
        if !map.is_empty() {
            inner(draft.pod_template(), "metadata").insert(key.to_owned(), map.into());
        }
    }
    for (path, key, value) in fields.left() {
        if !value.is_null() && key != "name" {
            book.lost(&path, format!("{key} of the pods has no counterpart"));
        }
    }
    labels
}

/// What differs from the MeshService's own way: one more at a time, none missing.
fn rollout(spec: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let mut rollout = Map::new();
    let mut strategy = spec.inner("strategy");
    let type_ = strategy.as_mut().and_then(|strategy| strategy.text("type")).unwrap_or_else(|| "RollingUpdate".to_owned());
    let mut rolling = strategy.as_mut().and_then(|strategy| strategy.inner("rollingUpdate")).unwrap_or_default();
    if type_ == "Recreate" {
        rollout.insert("type".to_owned(), "Recreate".into());
    } else {
        for field in ["maxSurge", "maxUnavailable"] {
            rollout.insert(field.to_owned(), rolling.take(field).unwrap_or_else(|| "25%".into()));
        }
        let both = |value: i64| rollout.get("maxSurge") == Some(&json!(value)) && rollout.get("maxUnavailable") == Some(&json!(0));
        if both(1) {
            rollout.clear();
        }
    }
    for (field, default) in [("progressDeadlineSeconds", 600), ("revisionHistoryLimit", 10)] {
        if let Some(value) = spec.number(field) {
            rollout.insert(field.to_owned(), value.into());
        } else {
            book.moot(format!("{field} (its default is another here than the {default} of a Deployment)"));
        }
    }
    if !rollout.is_empty() {
        draft.set("rollout", rollout);
    }
}
