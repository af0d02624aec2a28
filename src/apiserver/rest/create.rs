//! POST to a collection.
use http::{Response, StatusCode};
use rand::Rng;
use serde_json::Value;

use super::{
    call::Call,
    form,
    write::{Intent, Ownership, check_identity, insert},
};
use crate::{
    body::{self, Body},
    object,
    schema::{FieldError, Reason},
    status::ApiError,
};

/// What Kubernetes makes names of: no vowels, so no words; nothing that looks like something else.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

pub(super) async fn create(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let form = call.request.form()?;
    let mut intent = Intent::parse(call, "CreateOptions")?;
    let mut decoded = call.request.decode(&call.resource.kind)?;
    check_identity(call, &mut decoded)?;
    intent.check_fields(call.resource, &decoded.value, &decoded.duplicates)?;
    let object = decoded.value;
    if object::revision(&object).is_some() {
        return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
    }
    let created = match object::text(&object, "/metadata/generateName") {
        Some(prefix) if object::name(&object).is_empty() => create_named_anew(call, &object, prefix, &intent).await?,
        _ if object::name(&object).is_empty() => return Err(no_name(call)),
        _ => insert(call, object, &intent, Ownership::Record).await?,
    };
    let mut response = form::one(call, form, StatusCode::CREATED, &created);
    body::warn(&mut response, &intent.warnings);
    Ok(response)
}

fn no_name(call: &Call<'_>) -> ApiError {
    let message = "Required value: name or generateName is required".to_owned();
    ApiError::invalid(
        call.resource.group_resource(),
        "",
        &[FieldError { reason: Reason::Required, message, field: "metadata.name".to_owned() }],
    )
}

async fn create_named_anew(call: &Call<'_>, object: &Value, prefix: &str, intent: &Intent) -> Result<Value, ApiError> {
    let mut last = None;
    for _ in 0..8 {
        let mut named = object.clone();
        object::metadata(&mut named).insert("name".to_owned(), random_name(prefix).into());
        match insert(call, named, intent, Ownership::Record).await {
            Err(error) if error.reason() == "AlreadyExists" => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| ApiError::internal("no free name was found")))
}

fn random_name(prefix: &str) -> String {
    let mut random = rand::rng();
    // A name and its suffix stay within 63 characters.
    let mut name: String = prefix.chars().take(58).collect();
    for _ in 0..5 {
        let at = random.random_range(0..LETTERS.len());
        name.extend(LETTERS.get(at).map(|letter| char::from(*letter)));
    }
    name
}
