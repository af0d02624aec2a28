//! What `metadata` must fulfil in every object, and in objects embedded in others.
use serde_json::Value;

use super::{
    FieldError,
    error::join,
    names::{self, NameRule},
    node::At,
};

/// Annotations of one object take this many bytes at most.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// What is wrong with an object's `metadata`, whose types are right already.
pub(super) fn check(metadata: Option<&Value>, names: NameRule, path: &str) -> Vec<FieldError> {
    let text = |key: &str| metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut errors = Vec::new();
    if let Some(prefix) = text("generateName") {
        errors.extend(invalid(&join(path, "generateName"), prefix, names.check(prefix, true)));
    }
    match text("name") {
        None => errors.push(FieldError::required(join(path, "name"), "name or generateName is required")),
        Some(name) => errors.extend(invalid(&join(path, "name"), name, names.check(name, false))),
    }
    if let Some(namespace) = text("namespace") {
        errors.extend(invalid(&join(path, "namespace"), namespace, NameRule::Label.check(namespace, false)));
    }
    errors.extend(check_rest(metadata.unwrap_or(&Value::Null), path));
    errors
}

fn invalid<'a>(path: &'a str, value: &'a str, messages: Vec<String>) -> impl Iterator<Item = FieldError> + 'a {
    messages.into_iter().map(move |message| FieldError::invalid(path, &Value::from(value), &message))
}

fn check_rest(metadata: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let map = |key: &str| metadata.get(key).and_then(Value::as_object).into_iter().flatten();
    let (labels, annotations) = (join(path, "labels"), join(path, "annotations"));
    for (key, value) in map("labels") {
        errors.extend(invalid(&labels, key, names::check_qualified(key)));
        let value = value.as_str().unwrap_or_default();
        errors.extend(invalid(&labels, value, names::check_label_value(value)));
    }
    let mut size = 0;
    for (key, value) in map("annotations") {
        errors.extend(invalid(&annotations, key, names::check_qualified(&key.to_lowercase())));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(annotations, ANNOTATIONS_LIMIT as u64));
    }
    errors.extend(check_owners(metadata, &join(path, "ownerReferences")));
    let finalizers = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let place = join(path, "finalizers");
    errors.extend(finalizers.flat_map(|name| invalid(&place, name, names::check_qualified(name))));
    errors
}

fn check_owners(metadata: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    let Some(owners) = metadata.get("ownerReferences").and_then(Value::as_array) else { return errors };
    for owner in owners {
        let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
        for (key, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(key).is_empty() {
                errors.push(FieldError::invalid(join(path, key), &Value::from(""), why));
            }
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", text("kind"), text("name"));
            match &controller {
                Some(first) => {
                    let why =
                        format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}");
                    errors.push(FieldError::invalid(path, &owners.clone().into(), &why));
                }
                None => controller = Some(this),
            }
        }
    }
    errors
}

/// What is wrong with the objects that are embedded anywhere in a value.
pub(super) fn check_embedded(at: At<'_>, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => {
            if at.node.embedded {
                errors.extend(check_one(value, path));
            }
            for (name, field) in fields {
                if let Some(at) = at.field(name) {
                    check_embedded(at, field, &join(path, name), errors);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_embedded(at.items(), item, &format!("{path}[{index}]"), errors);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check_one(object: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for key in ["apiVersion", "kind"] {
        match object.get(key) {
            None => errors.push(FieldError::required(join(path, key), "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(join(path, key), &Value::from(""), "must not be empty"));
            }
            Some(Value::String(text)) if key == "kind" => {
                let messages = NameRule::Rfc1035.check(&text.to_lowercase(), false);
                if !messages.is_empty() {
                    let why = format!("may have mixed case, but should otherwise match: {}", messages.join(","));
                    errors.push(FieldError::invalid(join(path, key), &Value::from(text.as_str()), &why));
                }
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.push(FieldError::invalid(join(path, key), other, "must be a string")),
        }
    }
    if let Some(metadata) = object.get("metadata") {
        let found = check(Some(metadata), NameRule::PathSegment, &join(path, "metadata"));
        let name = join(path, "metadata.name");
        errors.extend(found.into_iter().filter(|error| !(error.reason == super::Reason::Required && error.field == name)));
    }
    errors
}
