//! Defaults: what the schema says where a value is missing.
use serde_json::Value;

use super::{
    FieldError,
    error::join,
    node::{Arena, At},
    validate,
};

/// Fills in the defaults of missing fields, and of nulls that the schema does not allow.
pub(super) fn fill(at: At<'_>, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, id) in &at.node.properties {
                let Some(default) = &at.at(*id).node.default else { continue };
                let missing = match fields.get(name.as_ref()) {
                    None => true,
                    Some(value) => value.is_null() && !at.at(*id).node.nullable,
                };
                if missing {
                    fields.insert(name.to_string(), default.clone());
                }
            }
            for (name, field) in fields {
                if let Some(at) = at.field(name) {
                    fill(at, field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(at.items(), item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes out nulls, as decoding into the built-in kinds' Go types does; what is opaque keeps its own.
pub(super) fn drop_nulls(at: At<'_>, value: &mut Value) {
    match value {
        Value::Object(fields) if !at.node.preserve => {
            fields.retain(|_, field| !field.is_null());
            for (name, field) in fields {
                drop_nulls(at.field_or_any(name), field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(at.items(), item)),
        _ => {}
    }
}

/// Defaults must fit the schema that they stand in.
pub(super) fn check_defaults(schema: &Value, arena: &Arena) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_below(schema, arena.root(), "", &mut errors);
    errors
}

fn check_below(schema: &Value, at: At<'_>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(default) = schema.get("default") {
        let mut filled = default.clone();
        fill(at, &mut filled);
        let mut found = Vec::new();
        validate::check(at, &filled, None, "default", &mut found);
        errors.extend(found.into_iter().map(|error| FieldError { field: join(path, &error.field), ..error }));
    }
    for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(at) = at.property(name) {
            check_below(child, at, &join(path, &format!("properties[{name}]")), errors);
        }
    }
    if let Some(child) = schema.get("items") {
        check_below(child, at.items(), &join(path, "items"), errors);
    }
    if let (Some(child), Some(id)) = (schema.get("additionalProperties"), at.node.additional) {
        check_below(child, at.at(id), &join(path, "additionalProperties"), errors);
    }
}
