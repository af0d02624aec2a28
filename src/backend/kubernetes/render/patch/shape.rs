//! Whether a patch is made of the fields of a PodTemplateSpec. An error is what stands behind the name of the patch: `.spec.x: …`.
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value, json};

use mesh_plan::quantity;

/// The patch as a pod template.
pub(super) fn typed(patch: &Value) -> Result<PodTemplateSpec, String> {
    if !patch.is_object() {
        return Err(": a pod template is a map".to_owned());
    }
    if let Some(path) = leaves(patch).into_iter().find_map(|(path, leaf)| holds_null(&leaf).then_some(path)) {
        return Err(format!("{path}: a pod template adds to what is there and cannot take away: leave null out"));
    }
    let patch = quantities(patch);
    let typed: PodTemplateSpec = serde_json::from_value(patch.clone()).map_err(|error| culprit(&patch, &error))?;
    // Whatever is not there when it is written again is no field of a pod template.
    let again = serde_json::to_value(&typed).unwrap_or_default();
    match unknown(&patch, &again) {
        Some(field) => Err(format!("{field}: a pod template has no such field: look for it with `kubectl explain pod.spec --recursive`")),
        None => Ok(typed),
    }
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
fn culprit(patch: &Value, whole: &serde_json::Error) -> String {
    let alone = leaves(patch).into_iter().find_map(|(path, leaf)| {
        let error = serde_json::from_value::<PodTemplateSpec>(leaf).err()?;
        Some(format!("{path}: {error}"))
    });
    alone.unwrap_or_else(|| format!(": {whole}"))
}

/// The first path of `given` that is not in `kept`.
fn unknown(given: &Value, kept: &Value) -> Option<String> {
    match given {
        Value::Object(map) => map.iter().find_map(|(key, value)| match kept.get(key) {
            None => Some(format!(".{key}")),
            Some(kept) => unknown(value, kept).map(|path| format!(".{key}{path}")),
        }),
        Value::Array(list) => list.iter().enumerate().find_map(|(index, value)| match kept.get(index) {
            None => Some(format!("[{index}]")),
            Some(kept) => unknown(value, kept).map(|path| format!("[{index}]{path}")),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
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
