//! The service's own container.
use serde_json::{Map, Value, json};

use super::routing::Target;
use crate::import::{
    draft::{Book, Draft},
    fields::{Fields, number},
    loosen,
};

/// Variables that each instance is given.
const OWN: [&str; 5] = ["PORT", "MESH_SERVICE", "MESH_INSTANCE", "MESH_REVISION", "MESH_NAMESPACE"];

/// Takes what a MeshService has fields for; returns what must go into the pods' template.
pub(super) fn container(fields: &mut Fields, wanted: Option<&Target>, draft: &mut Draft, book: &mut Book<'_>) -> Map<String, Value> {
    let mut patch = Map::new();
    if let Some(name) = fields.text("name").filter(|name| name != "app") {
        book.said(&fields.path("name"), format!("the container {name} is called app here (kubectl logs -c app)"));
    }
    for field in ["image", "imagePullPolicy", "workingDir"] {
        if let Some(text) = fields.text(field) {
            draft.set(field, text);
        }
    }
    for field in ["command", "args"] {
        let words = fields.texts(field);
        if !words.is_empty() {
            draft.set(field, words);
        }
    }
    let ports = ports(fields, wanted, &mut patch, draft, book);
    environment(fields, &mut patch, draft, book);
    for field in ["readinessProbe", "livenessProbe", "startupProbe"] {
        if let Some(value) = fields.take(field) {
            probe(field, value, &ports, &mut patch, draft);
            if patch.contains_key(field) {
                book.said(&fields.path(field), format!("{field}, in a cluster only: no probe of a MeshService asks this"));
            }
        }
    }
    resources(fields, &mut patch, draft);
    security(fields, &mut patch, draft);
    lifecycle(fields, &mut patch, book);
    patch
}

/// What is left goes into the template as it is, but for what every container has.
pub(super) fn rest(fields: Fields, book: &mut Book<'_>) -> Map<String, Value> {
    let default = |key: &str, value: &Value| match key {
        "terminationMessagePath" => value == "/dev/termination-log",
        "terminationMessagePolicy" => value == "File",
        "stdin" | "stdinOnce" | "tty" => *value == json!(false),
        _ => value.is_null() || *value == json!({}) || *value == json!([]),
    };
    let mut rest = Map::new();
    for (_, key, value) in fields.left() {
        if default(&key, &value) {
            book.moot(format!("{key} (as it is anyway)"));
        } else {
            rest.insert(key, value);
        }
    }
    rest
}

/// The number of the port that a Service leads to, if the container has it.
pub(super) fn port_of(container: &Value, wanted: &Target) -> Option<i64> {
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    let mut numbers = ports.filter_map(|port| Some((port.get("name").and_then(Value::as_str), number(port.get("containerPort")?)?)));
    numbers.find(|(name, number)| wanted.is(*name, *number)).map(|(_, number)| number)
}

/// The named ports.
fn ports(
    fields: &mut Fields,
    wanted: Option<&Target>,
    patch: &mut Map<String, Value>,
    draft: &mut Draft,
    book: &mut Book<'_>,
) -> Vec<(String, i64)> {
    let place = fields.path("ports");
    let all: Vec<Value> = fields.list("ports").into_iter().map(|(_, port)| port).collect();
    let number_of = |port: &Value| port.get("containerPort").and_then(number);
    let tcp = |port: &&Value| port.get("protocol").and_then(Value::as_str).is_none_or(|protocol| protocol == "TCP");
    let by_service = wanted.and_then(|wanted| port_of(&json!({ "ports": all }), wanted).or(wanted.number));
    let by_name = || all.iter().filter(tcp).find(|port| port.get("name") == Some(&json!("http"))).and_then(number_of);
    let own = by_service.or_else(by_name).or_else(|| all.iter().find(tcp).and_then(number_of));
    let named = all.iter().filter_map(|port| Some((port.get("name")?.as_str()?.to_owned(), number_of(port)?))).collect();
    if let Some(port) = own {
        draft.set("port", port);
    } else {
        draft.set("type", "Worker");
        book.said(&place, "type: Worker, because no port is given: if others call it, take type out and give spec.port");
    }
    let others: Vec<Value> = all.iter().filter(|port| number_of(port) != own).cloned().collect();
    if !others.is_empty() {
        patch.insert("ports".to_owned(), others.into());
    }
    named
}

/// Values, and keys of ConfigMaps and Secrets; what else a variable may come from only pods know.
fn environment(fields: &mut Fields, patch: &mut Map<String, Value>, draft: &mut Draft, book: &mut Book<'_>) {
    let mut of_pod = Vec::new();
    for (path, variable) in fields.list("env") {
        let name = variable.get("name").and_then(Value::as_str).unwrap_or_default();
        let from = variable.get("valueFrom").and_then(Value::as_object);
        if OWN.contains(&name) {
            book.lost(&path, format!("env: {name} is given to each instance, and says its own"));
        } else if from.is_some_and(|from| !from.contains_key("configMapKeyRef") && !from.contains_key("secretKeyRef")) {
            of_pod.push(variable);
        } else {
            draft.push("env", variable);
        }
    }
    for (_, source) in fields.list("envFrom") {
        draft.push("envFrom", source);
    }
    if !of_pod.is_empty() {
        patch.insert("env".to_owned(), of_pod.into());
    }
}

/// A probe in the service's own form, with the port's number for its name; one that it cannot say is the template's.
fn probe(field: &str, mut value: Value, ports: &[(String, i64)], patch: &mut Map<String, Value>, draft: &mut Draft) {
    let own = draft.spec.get("port").and_then(Value::as_i64);
    let strange = value.get("grpc").is_some()
        || value.get("terminationGracePeriodSeconds").is_some()
        || value.pointer("/httpGet/host").is_some()
        || value.pointer("/httpGet/scheme").is_some_and(|scheme| scheme != "HTTP")
        || value.pointer("/tcpSocket/host").is_some();
    for action in ["httpGet", "tcpSocket"] {
        let Some(action) = value.get_mut(action).and_then(Value::as_object_mut) else { continue };
        action.remove("scheme").filter(|scheme| scheme != "HTTP").map(|scheme| action.insert("scheme".to_owned(), scheme));
        let port = action
            .get("port")
            .and_then(|port| number(port).or_else(|| ports.iter().find(|(name, _)| port == name).map(|(_, number)| *number)));
        if let Some(port) = port {
            action.insert("port".to_owned(), port.into());
        }
        if port == own && !strange {
            action.remove("port");
        }
    }
    if strange {
        patch.insert(field.to_owned(), value);
        return;
    }
    let defaults =
        json!({"initialDelaySeconds": 0, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3});
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, value| defaults.get(key) != Some(value));
    }
    let asked = value.pointer("/httpGet/path").and_then(Value::as_str).map(str::to_owned);
    match asked.filter(|asked| field == "readinessProbe" && value == json!({ "httpGet": { "path": asked } })) {
        Some(asked) => draft.set("healthPath", asked),
        None => draft.set(field, value),
    }
}

/// CPU and memory in plain amounts are the service's.
fn resources(fields: &mut Fields, patch: &mut Map<String, Value>, draft: &mut Draft) {
    let Some(resources) = fields.take("resources").filter(|resources| *resources != json!({})) else { return };
    let amount = |key: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        match key {
            "cpu" => unit.is_empty() || unit == "m" || (unit.starts_with('.') && unit.len() <= 4 && !unit.ends_with('m')),
            "memory" => matches!(unit, "" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti"),
            _ => false,
        }
    };
    let plain = resources.as_object().is_some_and(|map| {
        map.iter().all(|(key, list)| {
            matches!(key.as_str(), "limits" | "requests")
                && list.as_object().is_some_and(|list| list.iter().all(|(key, value)| amount(key, value)))
        })
    });
    if plain { draft.set("resources", resources) } else { drop(patch.insert("resources".to_owned(), resources)) }
}

fn security(fields: &mut Fields, patch: &mut Map<String, Value>, draft: &mut Draft) {
    let mut security = fields.inner("securityContext").unwrap_or_default();
    for field in ["runAsUser", "runAsGroup"] {
        if let Some(id) = security.number(field) {
            draft.inner("securityContext").insert(field.to_owned(), id.into());
        }
    }
    if let Some(allowed) = security.flag("allowPrivilegeEscalation") {
        draft.inner("securityContext").insert("allowPrivilegeEscalation".to_owned(), allowed.into());
    }
    let read_only = security.flag("readOnlyRootFilesystem").unwrap_or(false);
    let mut capabilities = security.inner("capabilities").unwrap_or_default();
    loosen::loosen(draft, read_only, &capabilities.texts("add"), &capabilities.texts("drop"));
    let rest = security.rest();
    if !rest.is_empty() {
        patch.insert("securityContext".to_owned(), rest.into());
    }
}

/// A preStop hook is how the drain is acknowledged, so there cannot be another.
fn lifecycle(fields: &mut Fields, patch: &mut Map<String, Value>, book: &mut Book<'_>) {
    let Some(mut lifecycle) = fields.inner("lifecycle") else { return };
    let place = lifecycle.path("preStop");
    if let Some(hook) = lifecycle.take("preStop") {
        let sleeps = hook.get("sleep").is_some() || hook.to_string().contains("sleep");
        let why = if sleeps {
            "lifecycle.preStop: it waited until nobody sends requests any more; the drain waits until every router says so"
        } else {
            "lifecycle.preStop: the drain has that place; set spec.drain.timeout: 0s and put it into spec.kubernetes.podTemplate to have your own"
        };
        book.lost(&place, why);
    }
    let rest = lifecycle.rest();
    if !rest.is_empty() {
        patch.insert("lifecycle".to_owned(), rest.into());
    }
}
