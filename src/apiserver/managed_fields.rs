//! `metadata.managedFields`: who owns which field. Create and update record it here; apply lives in [`crate::patch`].
//!
//! The rules are Kubernetes' (KEP-555): an update owns what it added or changed, and takes it from whoever had it.
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) mod field_set;
pub(crate) mod managers;
pub(crate) mod typed;

use field_set::FieldSet;
use managers::{Managed, Manager, Managers};

use crate::schema::Schema;

/// What the server owns in `metadata`, and what no one can own.
const SERVERS_OWN: [&[&str]; 11] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Records a create (`old` is none), an update or a non-apply patch by `manager` in `new.metadata.managedFields`.
///
/// Call it on the final object, defaulted and pruned. A client's own `managedFields` in `new` win over the old ones; an empty list or `[{}]`
/// resets them. `api_version` is the endpoint's `group/version`; of a status subresource only `status` is recorded, and of the main endpoint
/// only the rest where the schema says that the kind has one ([`Schema::with_status_subresource`]).
pub fn record_update(
    old: Option<&Value>,
    new: &mut Value,
    manager: &str,
    api_version: &str,
    subresource: Option<&str>,
    now: Timestamp,
    schema: &Schema,
) {
    let mut managers = managers_to_start_with(old, new, subresource);
    set_entries(new, None);
    let old = old.map_or_else(|| json!({}), without_entries);
    let difference = typed::compare(schema.root(), Some(&old), Some(new));
    let changed = in_scope(&difference.changed, schema, subresource);
    for managed in managers.values_mut() {
        managed.fields = managed.fields.difference(&changed).difference(&difference.removed);
    }
    let taken = changed.difference(&servers_own());
    if !taken.is_empty() {
        let manager = Manager::update(manager, api_version, subresource);
        let fields = match managers.remove(&manager) {
            Some(before) => before.fields.union(&taken),
            None => taken,
        };
        managers.insert(manager, Managed { fields, api_version: api_version.to_owned(), time: Some(managers::stamp(now)) });
    }
    managers.retain(|_, managed| !managed.fields.is_empty());
    managers::cap(&mut managers);
    set_entries(new, Some(&managers));
}

/// A client that sends no entries, or broken ones, does not know of them: the old ones hold on.
fn managers_to_start_with(old: Option<&Value>, new: &Value, subresource: Option<&str>) -> Managers {
    let sent = entries(new).filter(|_| subresource.is_none());
    if sent.is_some_and(is_reset) {
        return Managers::new();
    }
    let sent = sent.and_then(managers::parse).filter(|managers| !managers.is_empty());
    sent.or_else(|| old.and_then(entries).and_then(managers::parse)).unwrap_or_default()
}

fn is_reset(entries: &Value) -> bool {
    entries.as_array().is_some_and(|entries| match entries.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    })
}

/// `metadata.managedFields` of an object.
pub(crate) fn entries(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields").filter(|entries| !entries.is_null())
}

/// The object as it is compared: without entries.
pub(crate) fn without_entries(object: &Value) -> Value {
    let mut object = object.clone();
    set_entries(&mut object, None);
    object
}

/// Writes the entries, or takes them out where there are none.
pub(crate) fn set_entries(object: &mut Value, managers: Option<&Managers>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    match managers.map(managers::encode).filter(|entries| entries.as_array().is_some_and(|entries| !entries.is_empty())) {
        Some(entries) => metadata.insert("managedFields".to_owned(), entries),
        None => metadata.remove("managedFields"),
    };
}

/// What nobody gets to own.
pub(crate) fn servers_own() -> FieldSet {
    let mut set = FieldSet::default();
    for path in SERVERS_OWN {
        set.insert(path);
    }
    set
}

/// What a request to an endpoint can own at all.
pub(crate) fn in_scope(fields: &FieldSet, schema: &Schema, subresource: Option<&str>) -> FieldSet {
    match subresource {
        Some("status") => fields.at_top("status", true),
        _ if schema.has_status_subresource() => fields.at_top("status", false),
        _ => fields.clone(),
    }
}

#[cfg(test)]
mod tests;
