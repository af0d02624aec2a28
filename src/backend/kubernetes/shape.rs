//! Whether a value is made of the fields of one of Kubernetes' types, by path (`.spec.x`, `[0].y`), so that nothing of it is lost without a word.
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use mesh_plan::quantity;

/// The value as that type, and the paths of what is no field of it.
///
/// # Errors
/// A field is of the wrong type: `.spec.replicas: invalid type: …`.
pub fn typed<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(T, Vec<String>), String> {
    let value = quantities(value);
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| culprit::<T>(&value, &error))?;
    // Whatever is not there when it is written again is no field.
    let again = serde_json::to_value(&typed).unwrap_or_default();
    let mut unknown = Vec::new();
    left_out(&value, &again, "", &mut unknown);
    Ok((typed, unknown))
}

/// The path of a null.
pub(super) fn null(value: &Value) -> Option<String> {
    leaves(value).into_iter().find_map(|(path, leaf)| holds_null(&leaf).then_some(path))
}

/// Each leaf with its path, as a patch that has only this one.
fn leaves(value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .flat_map(|(key, value)| leaves(value).into_iter().map(move |(path, leaf)| (format!(".{key}{path}"), json!({ key: leaf }))))
            .collect(),
        Value::Array(list) if !list.is_empty() => list
            .iter()
            .enumerate()
            .flat_map(|(index, value)| leaves(value).into_iter().map(move |(path, leaf)| (format!("[{index}]{path}"), json!([leaf]))))
            .collect(),
        leaf => vec![(String::new(), leaf.clone())],
    }
}

fn holds_null(leaf: &Value) -> bool {
    match leaf {
        Value::Null => true,
        Value::Object(map) => map.values().any(holds_null),
        Value::Array(list) => list.iter().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The field that is of the wrong type; every field may be left out, so each is tried alone.
fn culprit<T: DeserializeOwned>(value: &Value, whole: &serde_json::Error) -> String {
    let alone = leaves(value).into_iter().find_map(|(path, leaf)| {
        let error = serde_json::from_value::<T>(leaf).err()?;
        Some(format!("{path}: {error}"))
    });
    alone.unwrap_or_else(|| format!(": {whole}"))
}

/// Adds the paths of `given` that are not in `kept`. What says nothing (null) may be left out.
fn left_out(given: &Value, kept: &Value, path: &str, unknown: &mut Vec<String>) {
    let mut look = |path: String, given: &Value, kept: Option<&Value>| match kept {
        None if given.is_null() => {}
        None => unknown.push(path),
        Some(kept) => left_out(given, kept, &path, unknown),
    };
    match given {
        Value::Object(map) => map.iter().for_each(|(key, value)| look(format!("{path}.{key}"), value, kept.get(key))),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| look(format!("{path}[{index}]"), value, kept.get(index))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The same with quantities as an API server writes them: it takes numbers for them as well, and gives back text.
fn quantities(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().map(|(key, value)| (key.clone(), quantities_of(key, value))).collect()),
        Value::Array(list) => Value::Array(list.iter().map(quantities).collect()),
        leaf => leaf.clone(),
    }
}

fn quantities_of(key: &str, value: &Value) -> Value {
    match (key, value) {
        ("limits" | "requests" | "overhead", Value::Object(amounts)) => {
            Value::Object(amounts.iter().map(|(name, amount)| (name.clone(), amount_of(amount))).collect::<Map<_, _>>())
        }
        ("sizeLimit" | "divisor", amount) => amount_of(amount),
        (_, value) => quantities(value),
    }
}

fn amount_of(value: &Value) -> Value {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => return other.clone(),
    };
    Value::String(quantity::canonical(&text).unwrap_or(text))
}
