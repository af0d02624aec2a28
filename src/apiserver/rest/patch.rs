//! PATCH of an object or of its status: JSON patch, merge, strategic merge, apply.
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    call::{Call, Part},
    form,
    write::{Draft, Intent, Ownership, change, check_identity, insert},
};
use crate::{
    body::{self, Body},
    decode::Decoded,
    object, patch,
    patch::{ApplyError, ApplyOptions},
    registry::Resource,
    schema::{FieldError, Reason},
    status::ApiError,
};

const CUSTOM: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
const BUILT_IN: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// The patches there are, but for apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Merge,
    Strategic,
}

pub(super) async fn patch(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let form = call.request.form()?;
    match call.request.media_type() {
        Some("application/apply-patch+yaml" | "application/apply-patch+json") => apply(call, form).await,
        other => {
            let kind = kind(call.resource, other)?;
            let mut intent = Intent::parse(call, "PatchOptions")?;
            let Decoded { value: patch, duplicates } = decode_json(call)?;
            let draft = |intent: &mut Intent, _: &_, old: &Value| {
                let value = patched(call.resource, kind, old, &patch)?;
                check_patched(call, old, &value)?;
                intent.warnings.clear();
                intent.check_fields(call.resource, &value, &duplicates)?;
                Ok(Draft { value, ownership: Ownership::Record })
            };
            let changed =
                change(call, &mut intent, draft).await?.ok_or_else(|| ApiError::not_found(call.resource.group_resource(), call.name))?;
            let mut response = form::one(call, form, StatusCode::OK, &changed.into_value());
            body::warn(&mut response, &intent.warnings);
            Ok(response)
        }
    }
}

pub(super) fn kind(resource: &Resource, media_type: Option<&str>) -> Result<Kind, ApiError> {
    match media_type {
        Some("application/json-patch+json") => Ok(Kind::Json),
        Some("application/merge-patch+json") => Ok(Kind::Merge),
        Some("application/strategic-merge-patch+json") if !resource.is_custom() => Ok(Kind::Strategic),
        _ => Err(ApiError::unsupported_media_type(if resource.is_custom() { CUSTOM } else { BUILT_IN })),
    }
}

/// Patches are JSON whatever their own media type is called.
pub(super) fn decode_json(call: &Call<'_>) -> Result<Decoded, ApiError> {
    crate::decode::body(Some("application/json"), &call.request.body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
}

pub(super) fn patched(resource: &Resource, kind: Kind, old: &Value, patch: &Value) -> Result<Value, ApiError> {
    if kind != Kind::Json && !patch.is_object() {
        return Err(ApiError::bad_request("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}"));
    }
    match (kind, &resource.schema) {
        (Kind::Json, _) => patch::json(old, patch).map_err(|error| ApiError::from_patch(&error)),
        (Kind::Strategic, Some(schema)) => patch::strategic(old, patch, schema).map_err(|error| ApiError::from_patch(&error)),
        (Kind::Merge | Kind::Strategic, _) => Ok(patch::merge(old, patch)),
    }
}

/// What a patch cannot change, and the revision that it may have named.
fn check_patched(call: &Call<'_>, old: &Value, new: &Value) -> Result<(), ApiError> {
    let resource: &Resource = call.resource;
    if !new.is_object() {
        return Err(ApiError::bad_request("the patched object is no object"));
    }
    if object::revision(new).is_some_and(|revision| Some(revision) != object::revision(old)) {
        return Err(ApiError::conflict(resource.group_resource(), call.name));
    }
    for field in ["name", "namespace"] {
        let pointer = format!("/metadata/{field}");
        let (was, is) = (object::text(old, &pointer), object::text(new, &pointer));
        if is.is_some() && was != is {
            let (was, is) = (was.unwrap_or_default(), is.unwrap_or_default());
            return Err(ApiError::bad_request(format!("the {field} of the object ({is}) does not match the {field} on the URL ({was})")));
        }
    }
    for field in ["apiVersion", "kind"] {
        if new.get(field).is_some_and(|is| Some(is) != old.get(field)) {
            return Err(ApiError::bad_request(format!("the {field} of an object cannot be changed by a patch")));
        }
    }
    Ok(())
}

async fn apply(call: &Call<'_>, form: crate::accept::Form) -> Result<Response<Body>, ApiError> {
    let Call { request, resource, part, .. } = call;
    let mut intent = Intent::parse(call, "PatchOptions")?;
    let Some(manager) = request.query.get("fieldManager") else { return Err(no_manager()) };
    let Some(schema) = &resource.schema else { return Err(ApiError::method_not_allowed()) };
    let mut decoded = decode_apply(call)?;
    check_identity(call, &mut decoded)?;
    intent.check_fields(resource, &decoded.value, &decoded.duplicates)?;
    let applied = own_part(resource, *part, decoded.value);
    let api_version = resource.api_version();
    let options = ApplyOptions {
        manager,
        force: request.query.flag("force"),
        api_version: &api_version,
        subresource: part.subresource(),
        now: intent.now,
    };
    let merge = |live: Option<&Value>| patch::apply(live, &applied, schema, &options).map_err(|error| refused(&error));
    loop {
        let draft = |_: &mut Intent, _: &_, old: &Value| {
            if object::revision(&applied).is_some_and(|revision| Some(revision) != object::revision(old)) {
                return Err(ApiError::conflict(resource.group_resource(), call.name));
            }
            Ok(Draft { value: merge(Some(old))?, ownership: Ownership::Applied })
        };
        let (code, value) = match change(call, &mut intent, draft).await? {
            Some(changed) => (StatusCode::OK, changed.into_value()),
            None if *part != Part::Main => return Err(ApiError::not_found(resource.group_resource(), call.name)),
            None if !object::uid(&applied).is_empty() => {
                let why =
                    format!("uid mismatch: the provided object specified uid {}, and no existing object was found", object::uid(&applied));
                return Err(ApiError::conflict_because(resource.group_resource(), call.name, &why));
            }
            None => match insert(call, merge(None)?, &intent, Ownership::Applied).await {
                Ok(value) => (StatusCode::CREATED, value),
                // Somebody made it just now: then it is a change.
                Err(error) if error.reason() == "AlreadyExists" && !intent.dry_run => continue,
                Err(error) => return Err(error),
            },
        };
        let mut response = form::one(call, form, code, &value);
        body::warn(&mut response, &intent.warnings);
        return Ok(response);
    }
}

/// What of an applied object counts at this endpoint: its manager shall not come to own what is not taken from it.
fn own_part(resource: &Resource, part: Part, mut applied: Value) -> Value {
    let map = object::map(&mut applied);
    match part {
        Part::Status => {
            map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            let identity = |field: &String| matches!(field.as_str(), "name" | "namespace" | "uid" | "resourceVersion" | "managedFields");
            object::map_at(map, "metadata").retain(|field, _| identity(field));
        }
        _ if resource.has_status => drop(map.remove("status")),
        _ => {}
    }
    applied
}

fn decode_apply(call: &Call<'_>) -> Result<Decoded, ApiError> {
    crate::decode::body(Some("application/apply-patch+yaml"), &call.request.body).map_err(|error| ApiError::bad_request(error.to_string()))
}

fn no_manager() -> ApiError {
    let message = "Required value: is required for apply patch".to_owned();
    let error = FieldError { reason: Reason::Required, message, field: "fieldManager".to_owned() };
    ApiError::invalid_kind("PatchOptions", "meta.k8s.io", "", &[error])
}

fn refused(error: &ApplyError) -> ApiError {
    ApiError::from_apply(error, no_manager)
}

/// A merge patch that sets the value at a pointer.
pub(super) fn merge_at(pointer: &str, value: Value) -> Value {
    let mut patch = json!({});
    object::set_at(&mut patch, pointer, value);
    patch
}
