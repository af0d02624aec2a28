//! Fields that a schema does not know: found, and taken out.
use serde_json::Value;

use super::{
    error::join,
    node::{At, Type},
};

/// The paths of unknown fields; what is within one is not looked at.
pub(super) fn unknown(at: At<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if looks_inside(at) => {
            for (name, field) in fields {
                let path = join(path, name);
                match at.field(name) {
                    Some(at) => unknown(at, field, &path, found),
                    None => found.push(path),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                unknown(at.items(), item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// Takes the unknown fields out.
pub(super) fn prune(at: At<'_>, value: &mut Value) {
    match value {
        Value::Object(fields) if looks_inside(at) => {
            fields.retain(|name, field| {
                at.field(name).is_some_and(|at| {
                    prune(at, field);
                    true
                })
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(at.items(), item)),
        _ => {}
    }
}

/// An object where something else belongs is a type error, not a matter of its fields.
fn looks_inside(at: At<'_>) -> bool {
    matches!(at.node.kind, Type::Object | Type::Any)
}
