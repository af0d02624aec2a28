//! PUT of an object, or of its status.
use http::{Response, StatusCode};
use serde_json::Value;

use super::{
    call::{Call, Part},
    form,
    write::{Draft, Intent, Ownership, change, check_identity},
};
use crate::{
    body::{self, Body},
    object,
    registry::Resource,
    schema::{FieldError, Reason},
    status::ApiError,
};
use mesh_store::Entry;

pub(super) async fn update(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let form = call.request.form()?;
    let mut intent = Intent::parse(call, "UpdateOptions")?;
    let mut decoded = call.request.decode(&call.resource.kind)?;
    check_identity(call, &mut decoded)?;
    intent.check_fields(call.resource, &decoded.value, &decoded.duplicates)?;
    let draft = |_: &mut Intent, entry: &Entry, _: &Value| {
        check_revision(call, entry, &decoded.value)?;
        Ok(Draft { value: decoded.value.clone(), ownership: Ownership::Record })
    };
    let changed = change(call, &mut intent, draft).await?.ok_or_else(|| ApiError::not_found(call.resource.group_resource(), call.name))?;
    let mut response = form::one(call, form, StatusCode::OK, &changed.into_value());
    body::warn(&mut response, &intent.warnings);
    Ok(response)
}

/// The body's revision must be the stored one. Without one: built-in kinds take it as it is, custom ones refuse.
fn check_revision(call: &Call<'_>, entry: &Entry, object: &Value) -> Result<(), ApiError> {
    let resource: &Resource = call.resource;
    match object::revision(object) {
        Some(revision) if revision == entry.revision.to_string() => Ok(()),
        None | Some("0") if !resource.is_custom() || call.part == Part::Finalize => Ok(()),
        None | Some("0") => {
            let message = "Invalid value: 0: must be specified for an update".to_owned();
            let error = FieldError { reason: Reason::Invalid, message, field: "metadata.resourceVersion".to_owned() };
            Err(ApiError::invalid(resource.group_resource(), call.name, &[error]))
        }
        Some(_) => Err(ApiError::conflict(resource.group_resource(), call.name)),
    }
}
