//! `/scale`: an `autoscaling/v1 Scale` that reads and writes the paths which the definition names.
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    call::Call,
    form, patch,
    write::{Draft, Intent, Ownership, change},
};
use crate::{
    body::{self, Body},
    object,
    registry::{Resource, ScalePaths},
    schema::{FieldError, Reason},
    status::ApiError,
};
use mesh_store::Entry;

pub(super) fn get(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let Call { server, resource, namespace, name, .. } = call;
    let entry = server.store.get(&resource.key(namespace, name)).ok_or_else(|| ApiError::not_found(resource.group_resource(), name))?;
    answer(call, &resource.view(&entry))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut intent = Intent::parse(call, "UpdateOptions")?;
    // kubectl sends this without a content type.
    let sent = call.request.decode("Scale")?.value;
    write(call, &mut intent, |_| Ok(sent.clone())).await
}

pub(super) async fn patch(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let mut intent = Intent::parse(call, "PatchOptions")?;
    let media_type = call.request.media_type();
    let sent = match media_type {
        // An apply of a Scale sets its replicas; ownership is recorded for the path that they stand at.
        Some("application/apply-patch+yaml") => {
            crate::decode::body(Some("application/apply-patch+yaml"), &call.request.body)
                .map_err(|error| ApiError::bad_request(error.to_string()))?
                .value
        }
        _ => patch::decode_json(call)?.value,
    };
    let kind = match media_type {
        Some("application/apply-patch+yaml" | "application/strategic-merge-patch+json") => patch::Kind::Merge,
        other => patch::kind(call.resource, other)?,
    };
    write(call, &mut intent, |scale| patch::patched(call.resource, kind, scale, &sent)).await
}

async fn write(
    call: &Call<'_>,
    intent: &mut Intent,
    new_scale: impl Fn(&Value) -> Result<Value, ApiError>,
) -> Result<Response<Body>, ApiError> {
    let paths = paths(call.resource)?;
    let draft = |_: &mut Intent, _: &Entry, old: &Value| {
        let scale = new_scale(&scale(paths, old))?;
        if object::revision(&scale).is_some_and(|revision| Some(revision) != object::revision(old)) {
            return Err(ApiError::conflict(call.resource.group_resource(), call.name));
        }
        let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
        if replicas < 0 {
            let message = format!("Invalid value: {replicas}: should be a non-negative integer");
            let error = FieldError { reason: Reason::Invalid, message, field: "spec.replicas".to_owned() };
            return Err(ApiError::invalid_kind("Scale", "autoscaling", call.name, &[error]));
        }
        let value = crate::patch::merge(old, &patch::merge_at(&paths.spec_replicas, json!(replicas)));
        Ok(Draft { value, ownership: Ownership::Record })
    };
    let changed = change(call, intent, draft).await?.ok_or_else(|| ApiError::not_found(call.resource.group_resource(), call.name))?;
    answer(call, &changed.into_value())
}

fn paths(resource: &Resource) -> Result<&ScalePaths, ApiError> {
    resource.scale.as_ref().ok_or_else(ApiError::no_resource)
}

fn answer(call: &Call<'_>, object: &Value) -> Result<Response<Body>, ApiError> {
    let form = call.request.form()?;
    let scale = scale(paths(call.resource)?, object);
    match form {
        crate::accept::Form::Object => Ok(body::json(StatusCode::OK, &scale)),
        other => Ok(form::one(call, other, StatusCode::OK, &scale)),
    }
}

fn scale(paths: &ScalePaths, object: &Value) -> Value {
    let ScalePaths { spec_replicas, status_replicas, label_selector } = paths;
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        object::copy_field(object.get("metadata").unwrap_or(&Value::Null), &mut metadata, field);
    }
    let mut status = json!({"replicas": number(status_replicas)});
    if let Some(selector) = label_selector.as_ref().and_then(|pointer| object::text(object, pointer)) {
        object::set_at(&mut status, "/selector", selector.into());
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": number(spec_replicas)}, "status": status})
}
