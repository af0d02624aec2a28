//! What the built-in kinds have beyond a schema: fields that follow from others, and checks that no schema expresses.
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::FieldError;

/// Fills in what follows from other fields.
pub(super) fn complete(kind: &str, object: &mut Value) {
    match kind {
        "Secret" => move_string_data(object),
        "Service" => complete_service(object),
        "CustomResourceDefinition" => complete_names(object),
        _ => {}
    }
}

/// `stringData` is write-only: it ends up in `data`.
fn move_string_data(secret: &mut Value) {
    let Some(Value::Object(plain)) = secret.as_object_mut().and_then(|secret| secret.remove("stringData")) else { return };
    let encoded = plain.into_iter().filter_map(|(key, value)| Some((key, Value::from(BASE64_STANDARD.encode(value.as_str()?)))));
    let encoded: Map<_, _> = encoded.collect();
    if let (Some(secret), false) = (secret.as_object_mut(), encoded.is_empty())
        && let Value::Object(data) = secret.entry("data").or_insert_with(|| json!({}))
    {
        data.extend(encoded);
    }
}

fn complete_service(service: &mut Value) {
    let Some(Value::Object(spec)) = service.get_mut("spec") else { return };
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        let unset = port.get("targetPort").is_none_or(|target| *target == json!(0) || *target == json!(""));
        if let (true, Some(number)) = (unset, port.get("port").cloned()) {
            port.insert("targetPort".to_owned(), number);
        }
    }
    if spec.get("sessionAffinity").is_some_and(|affinity| affinity == "ClientIP") {
        spec.entry("sessionAffinityConfig").or_insert_with(|| json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    if spec.get("type").is_some_and(|kind| kind != "ExternalName") {
        spec.entry("internalTrafficPolicy").or_insert_with(|| json!("Cluster"));
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
    }
    if spec.get("type").is_some_and(|kind| kind == "NodePort" || kind == "LoadBalancer") {
        spec.entry("externalTrafficPolicy").or_insert_with(|| json!("Cluster"));
    }
    if let Some(service) = service.as_object_mut() {
        service.entry("status").or_insert_with(|| json!({"loadBalancer": {}}));
    }
}

fn complete_names(definition: &mut Value) {
    let Some(Value::Object(names)) = definition.get_mut("spec").and_then(|spec| spec.get_mut("names")) else { return };
    let Some(kind) = names.get("kind").and_then(Value::as_str).filter(|kind| !kind.is_empty()).map(str::to_owned) else { return };
    let unset = |names: &Map<String, Value>, name: &str| names.get(name).and_then(Value::as_str).is_none_or(str::is_empty);
    if unset(names, "singular") {
        names.insert("singular".to_owned(), kind.to_lowercase().into());
    }
    if unset(names, "listKind") {
        names.insert("listKind".to_owned(), format!("{kind}List").into());
    }
}

/// Checks what no schema expresses; `old` is there on an update.
pub(super) fn check(kind: &str, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = match kind {
        "ConfigMap" => [check_keys(new, "data"), check_keys(new, "binaryData")].concat(),
        "Secret" => check_keys(new, "data"),
        "Service" => check_ports(new),
        _ => Vec::new(),
    };
    if matches!(kind, "ConfigMap" | "Secret") && old.is_some_and(|old| old.get("immutable") == Some(&Value::Bool(true))) {
        errors.extend(check_immutable(new, old));
    }
    errors
}

fn check_immutable(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let changed = ["immutable", "data", "binaryData"].into_iter().filter(|field| old.is_some_and(|old| old.get(field) != new.get(field)));
    changed.map(|field| FieldError::forbidden(field, "field is immutable when `immutable` is set")).collect()
}

fn check_keys(object: &Value, field: &str) -> Vec<FieldError> {
    let what = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let mut errors = Vec::new();
    for key in object.get(field).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key) {
        let place = format!("{field}[{key}]");
        if key.len() > 253 {
            errors.push(FieldError::invalid(&place, &key.as_str().into(), "must be no more than 253 characters"));
        }
        if key.is_empty() || !key.chars().all(allowed) {
            let why = format!("{what} (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')");
            errors.push(FieldError::invalid(&place, &key.as_str().into(), &why));
        } else if key == "." || key == ".." || key.starts_with("..") {
            let why = if key.len() <= 2 { format!("must not be '{key}'") } else { "must not start with '..'".to_owned() };
            errors.push(FieldError::invalid(&place, &key.as_str().into(), &why));
        }
    }
    errors
}

fn check_ports(service: &Value) -> Vec<FieldError> {
    let spec = service.get("spec");
    let ports = spec.and_then(|spec| spec.get("ports")).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut errors = Vec::new();
    let headless = spec.and_then(|spec| spec.get("clusterIP")).is_some_and(|address| address == "None");
    let external = spec.and_then(|spec| spec.get("type")).is_some_and(|kind| kind == "ExternalName");
    if ports.is_empty() && !headless && !external {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        for field in ["port", "targetPort"] {
            if let Some(number) = port.get(field).filter(|number| number.as_i64().is_some_and(|number| !(1..=65535).contains(&number))) {
                errors.push(FieldError::invalid(format!("spec.ports[{index}].{field}"), number, "must be between 1 and 65535, inclusive"));
            }
        }
        if ports.len() > 1 && port.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            errors.push(FieldError::required(format!("spec.ports[{index}].name"), ""));
        }
    }
    errors
}
