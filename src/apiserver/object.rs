//! Reading and writing the metadata that every object has, and its conditions, on plain JSON.
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What the server alone sets.
const OWNED_BY_SERVER: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name").unwrap_or_default()
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace").unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid").unwrap_or_default()
}

pub(crate) fn revision(object: &Value) -> Option<&str> {
    text(object, "/metadata/resourceVersion")
}

pub(crate) fn is_dying(object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_some()
}

pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The condition of a type in an object's status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// The finalizers, of a namespace its spec's included: while there is one, the object stays.
pub(crate) fn is_held(object: &Value) -> bool {
    !finalizers(object).is_empty()
        || (text(object, "/kind") == Some("Namespace")
            && object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|all| !all.is_empty()))
}

/// The metadata, made if there is none; an object that is no object becomes one, so that this cannot fail.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    map_at(map(object), "metadata")
}

/// A field as a map, made (or replaced) if it is none.
pub(crate) fn map_at<'a>(parent: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    map(parent.entry(field).or_insert_with(|| json!({})))
}

/// A value as a map; what is none becomes an empty one.
pub(crate) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object just above"),
    }
}

pub(crate) fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    let metadata = metadata(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), finalizers.into());
    }
}

/// A time as metadata has it: whole seconds.
pub(crate) fn seconds(now: Timestamp) -> Value {
    Value::String(format!("{now:.0}"))
}

/// Gives a new object what the server sets, whatever the client sent.
pub(crate) fn give_birth(object: &mut Value, generation: bool, now: Timestamp) {
    let metadata = metadata(object);
    for field in OWNED_BY_SERVER {
        metadata.remove(field);
    }
    metadata.remove("resourceVersion");
    metadata.insert("uid".to_owned(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".to_owned(), seconds(now));
    if generation {
        metadata.insert("generation".to_owned(), json!(1));
    }
}

/// Takes over from the stored object what a client cannot change.
pub(crate) fn keep_identity(new: &mut Value, old: &Value) {
    let metadata = metadata(new);
    for field in OWNED_BY_SERVER.iter().chain(&["name", "namespace", "resourceVersion", "generateName"]) {
        match old.pointer(&format!("/metadata/{field}")) {
            Some(value) => metadata.insert((*field).to_owned(), value.clone()),
            None => metadata.remove(*field),
        };
    }
}

/// Marks an object as dying; that moves its generation.
pub(crate) fn mark_dying(object: &mut Value, now: Timestamp) {
    let metadata = metadata(object);
    metadata.insert("deletionTimestamp".to_owned(), seconds(now));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
    bump_generation(object);
}

pub(crate) fn bump_generation(object: &mut Value) {
    if let Some(generation) = object.pointer_mut("/metadata/generation") {
        *generation = json!(generation.as_i64().unwrap_or(0) + 1);
    }
}

/// Whether anything but metadata and status differs: what a generation counts.
pub(crate) fn spec_differs(old: &Value, new: &Value) -> bool {
    let fields = |object: &Value| -> Option<Map<String, Value>> {
        let mut map = object.as_object()?.clone();
        map.retain(|field, _| !matches!(field.as_str(), "metadata" | "status"));
        Some(map)
    };
    fields(old) != fields(new)
}

/// A field as it was in another object, present or absent.
pub(crate) fn copy_field(from: &Value, to: &mut Value, field: &str) {
    let to = map(to);
    match from.get(field) {
        Some(value) => to.insert(field.to_owned(), value.clone()),
        None => to.remove(field),
    };
}

/// Sets the value at a pointer of object fields, making the objects on the way.
pub(crate) fn set_at(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for field in pointer.split('/').skip(1) {
        at = map(at).entry(field).or_insert(Value::Null);
    }
    *at = value;
}
