//! The columns of the built-in kinds.
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cell, Column, human, name_column};

type Function = fn(&Value, Timestamp) -> Value;

/// The columns of a kind; Name and Age for one without its own.
pub(super) fn columns(group: &str, kind: &str) -> Vec<Column> {
    let named = |own: &[(&str, i64, Function)]| std::iter::once(name_column()).chain(own.iter().map(column)).collect();
    match (group, kind) {
        ("", "Namespace") => named(&[("Status", 0, |object, _| text(object, "/status/phase")), AGE]),
        ("", "ConfigMap") => named(&[("Data", 0, |object, _| json!(count(object, "/data") + count(object, "/binaryData"))), AGE]),
        ("", "Secret") => {
            named(&[("Type", 0, |object, _| text(object, "/type")), ("Data", 0, |object, _| json!(count(object, "/data"))), AGE])
        }
        ("", "ServiceAccount") => named(&[("Secrets", 0, |object, _| json!(count(object, "/secrets"))), AGE]),
        ("", "Service") => named(&SERVICE),
        ("" | "events.k8s.io", "Event") => EVENT.iter().map(column).collect(),
        ("discovery.k8s.io", "EndpointSlice") => named(&ENDPOINT_SLICE),
        ("coordination.k8s.io", "Lease") => named(&[("Holder", 0, |object, _| text(object, "/spec/holderIdentity")), AGE]),
        ("apps", "ControllerRevision") => named(&CONTROLLER_REVISION),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            named(&[("Created At", 0, |object, _| text(object, "/metadata/creationTimestamp"))])
        }
        ("autoscaling", "Scale") => named(&SCALE),
        _ => named(&[AGE]),
    }
}

const SCALE: [(&str, i64, Function); 3] = [
    ("Desired", 0, |object, _| json!(number(object, "/spec/replicas"))),
    ("Available", 0, |object, _| json!(number(object, "/status/replicas"))),
    AGE,
];

const AGE: (&str, i64, Function) = ("Age", 0, |object, now| json!(human::since(at(object, "/metadata/creationTimestamp"), now)));

const SERVICE: [(&str, i64, Function); 6] = [
    ("Type", 0, |object, _| text(object, "/spec/type")),
    ("Cluster-IP", 0, |object, _| json!(at(object, "/spec/clusterIP").filter(|address| !address.is_empty()).unwrap_or("<none>"))),
    ("External-IP", 0, |object, _| json!(external_address(object))),
    ("Port(s)", 0, |object, _| json!(service_ports(object))),
    AGE,
    ("Selector", 1, |object, _| json!(selector(object))),
];

const EVENT: [(&str, i64, Function); 10] = [
    ("Last Seen", 0, |object, now| json!(last_seen(object, now))),
    ("Type", 0, |object, _| text(object, "/type")),
    ("Reason", 0, |object, _| text(object, "/reason")),
    ("Object", 0, |object, _| json!(involved(object))),
    ("Subobject", 1, |object, _| first_text(object, &["/involvedObject/fieldPath", "/regarding/fieldPath"])),
    ("Source", 1, |object, _| {
        first_text(object, &["/source/component", "/deprecatedSource/component", "/reportingComponent", "/reportingController"])
    }),
    ("Message", 0, |object, _| json!(first(object, &["/message", "/note"]).unwrap_or_default().trim())),
    ("First Seen", 1, |object, now| {
        json!(human::since(first(object, &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]), now))
    }),
    ("Count", 1, |object, _| json!(times_seen(object))),
    ("Name", 1, |object, _| text(object, "/metadata/name")),
];

const ENDPOINT_SLICE: [(&str, i64, Function); 4] = [
    ("AddressType", 0, |object, _| text(object, "/addressType")),
    ("Ports", 0, |object, _| json!(some_of(list(object, "/ports").map(|port| shown(port.get("port"))).collect(), "<unset>"))),
    ("Endpoints", 0, |object, _| {
        json!(some_of(
            list(object, "/endpoints").filter_map(|endpoint| at(endpoint, "/addresses/0")).map(str::to_owned).collect(),
            "<unset>"
        ))
    }),
    AGE,
];

const CONTROLLER_REVISION: [(&str, i64, Function); 3] = [
    ("Controller", 0, |object, _| json!(controller(object))),
    ("Revision", 0, |object, _| object.get("revision").cloned().unwrap_or_default()),
    AGE,
];

fn column((name, priority, cell): &(&str, i64, Function)) -> Column {
    let kind = if matches!(*name, "Data" | "Secrets" | "Revision" | "Count") { "integer" } else { "string" };
    Column {
        name: (*name).to_owned(),
        kind: kind.to_owned(),
        format: if *name == "Name" { "name".to_owned() } else { String::new() },
        description: format!("{name} of the object."),
        priority: *priority,
        cell: Cell::Function(*cell),
    }
}

fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

fn text(object: &Value, pointer: &str) -> Value {
    json!(at(object, pointer).unwrap_or_default())
}

fn first<'a>(object: &'a Value, pointers: &[&str]) -> Option<&'a str> {
    pointers.iter().find_map(|pointer| at(object, pointer).filter(|text| !text.is_empty()))
}

fn first_text(object: &Value, pointers: &[&str]) -> Value {
    json!(first(object, pointers).unwrap_or_default())
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn count(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).map_or(0, |value| value.as_array().map_or_else(|| value.as_object().map_or(0, serde_json::Map::len), Vec::len))
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "*".to_owned(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// The first three, and how many more there are.
fn some_of(items: Vec<String>, none: &str) -> String {
    match items.len() {
        0 => none.to_owned(),
        1..=3 => items.join(","),
        more => format!("{} + {} more...", items.into_iter().take(3).collect::<Vec<_>>().join(","), more - 3),
    }
}

fn joined(items: &[String]) -> String {
    if items.is_empty() { "<none>".to_owned() } else { items.join(",") }
}

fn service_ports(service: &Value) -> String {
    let port = |port: &Value| {
        let node = port.get("nodePort").and_then(Value::as_i64).filter(|node| *node > 0).map(|node| format!(":{node}"));
        format!("{}{}/{}", shown(port.get("port")), node.unwrap_or_default(), at(port, "/protocol").unwrap_or("TCP"))
    };
    joined(&list(service, "/spec/ports").map(port).collect::<Vec<_>>())
}

fn external_address(service: &Value) -> String {
    if let Some(name) = at(service, "/spec/externalName").filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let given = list(service, "/spec/externalIPs").filter_map(Value::as_str);
    let balanced = list(service, "/status/loadBalancer/ingress").filter_map(|ingress| first(ingress, &["/ip", "/hostname"]));
    joined(&given.chain(balanced).map(str::to_owned).collect::<Vec<_>>())
}

fn selector(service: &Value) -> String {
    let labels = service.pointer("/spec/selector").and_then(Value::as_object).into_iter().flatten();
    joined(&labels.map(|(key, value)| format!("{key}={}", shown(Some(value)))).collect::<Vec<_>>())
}

fn controller(object: &Value) -> String {
    let owner = list(object, "/metadata/ownerReferences").find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    owner.map_or_else(
        || "<none>".to_owned(),
        |owner| format!("{}/{}", at(owner, "/kind").unwrap_or_default().to_lowercase(), at(owner, "/name").unwrap_or_default()),
    )
}

fn involved(event: &Value) -> String {
    let kind = first(event, &["/involvedObject/kind", "/regarding/kind"]).unwrap_or_default().to_lowercase();
    let name = first(event, &["/involvedObject/name", "/regarding/name"]).unwrap_or_default();
    if kind.is_empty() { name.to_owned() } else { format!("{kind}/{name}") }
}

fn times_seen(event: &Value) -> i64 {
    let count = ["/series/count", "/count", "/deprecatedCount"].iter().find_map(|pointer| event.pointer(pointer)?.as_i64());
    count.filter(|count| *count > 0).unwrap_or(1)
}

/// `5m`, or `10s (x3 over 5m)` for one that was seen again.
fn last_seen(event: &Value, now: Timestamp) -> String {
    let begin = first(event, &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"]);
    let end = first(event, &["/series/lastObservedTime", "/lastTimestamp", "/deprecatedLastTimestamp"]).or(begin);
    let (last, times) = (human::since(end, now), times_seen(event));
    if times > 1 { format!("{last} (x{times} over {})", human::since(begin, now)) } else { last }
}
