//! `x-kubernetes-list-type` and `-map-type`: whether a schema may say what it says, and whether a list keeps its promise.
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    FieldError,
    error::join,
    node::{At, ListType},
};

/// What is wrong with a schema's list and map types.
pub(super) fn check(schema: &Map<String, Value>, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = schema.get("type").and_then(Value::as_str);
    let mut check_type = |keyword: &str, allowed: &[&str], wanted: &str| {
        let Some(value) = schema.get(keyword) else { return };
        if kind != Some(wanted) {
            let why = format!("must be {wanted} if {keyword} is specified");
            let place = join(path, "type");
            errors.push(kind.map_or_else(|| FieldError::required(&*place, &why), |kind| FieldError::invalid(&*place, &kind.into(), &why)));
        }
        if !allowed.iter().any(|name| value == name) {
            let allowed: Vec<_> = allowed.iter().map(|name| Value::from(*name)).collect();
            errors.push(FieldError::not_supported(join(path, keyword), value, &allowed));
        }
    };
    check_type("x-kubernetes-list-type", &["atomic", "set", "map"], "array");
    check_type("x-kubernetes-map-type", &["atomic", "granular"], "object");
    errors.extend(check_keys(schema, path));
    errors
}

fn check_keys(schema: &Map<String, Value>, path: &str) -> Option<FieldError> {
    let is_map = schema.get("x-kubernetes-list-type").is_some_and(|kind| kind == "map");
    let place = join(path, "x-kubernetes-list-map-keys");
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let Some(keys) = keys else {
        return is_map.then(|| FieldError::required(place, "must not be empty if x-kubernetes-list-type is map"));
    };
    if !is_map {
        let place = join(path, "x-kubernetes-list-type");
        return Some(FieldError::required(place, "must be map if x-kubernetes-list-map-keys is non-empty"));
    }
    let items = schema.get("items")?;
    let properties = items.get("properties").and_then(Value::as_object);
    let required = items.get("required").and_then(Value::as_array);
    for key in keys.iter().filter_map(Value::as_str) {
        let Some(property) = properties.and_then(|properties| properties.get(key)) else {
            return Some(FieldError::invalid(place, &keys.clone().into(), "entries must all be names of item properties"));
        };
        let is_required = required.is_some_and(|required| required.iter().any(|name| name == key));
        if !is_required && property.get("default").is_none() {
            let place = join(path, &format!("items.properties[{key}].default"));
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            return Some(FieldError::required(place, why));
        }
    }
    None
}

/// The items that stand in a set or a map list twice, anywhere in a value.
pub(super) fn duplicates(at: At<'_>, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Array(items) => {
            let keys: Option<Vec<Value>> = match &at.node.list {
                ListType::Atomic => None,
                ListType::Set => Some(items.clone()),
                ListType::Map(names) => Some(items.iter().map(|item| key_of(item, names)).collect()),
            };
            errors.extend(keys.into_iter().flat_map(repeated).map(|(index, key)| FieldError::duplicate(format!("{path}[{index}]"), &key)));
            for (index, item) in items.iter().enumerate() {
                duplicates(at.items(), item, &format!("{path}[{index}]"), errors);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(at) = at.field(name) {
                    duplicates(at, field, &join(path, name), errors);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn key_of(item: &Value, names: &[String]) -> Value {
    names.iter().filter_map(|name| item.get(name).map(|value| (name.clone(), value.clone()))).collect::<Map<_, _>>().into()
}

/// Only the second one of equals is told, however many follow.
fn repeated(keys: Vec<Value>) -> Vec<(usize, Value)> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut repeated = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let times = seen.entry(key.to_string()).or_insert(0);
        *times += 1;
        if *times == 2 {
            repeated.push((index, key));
        }
    }
    repeated
}
