//! Server-side apply (KEP-555): who applies a field owns it, a field that only its applier owned goes when it is no longer applied, and to
//! change what another one owns is a conflict.
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::merging;
use crate::{
    managed_fields::{
        self,
        field_set::FieldSet,
        in_scope,
        managers::{self, Managed, Manager, Managers},
        typed,
    },
    schema::{Schema, node::At},
};

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// 409 Conflict: others own fields of another value.
    #[error("{}", conflict_text(.0))]
    Conflict(Vec<Conflict>),
    /// 400 `BadRequest`: the applied object carries managedFields.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// 422 Invalid, `PatchOptions`: no field manager.
    #[error("fieldManager: Required value: is required for apply patch")]
    FieldManager,
    /// 400 `BadRequest`: the applied object is of another version than the endpoint.
    #[error("Incorrect version specified in apply patch. Specified patch version: {given}, expected: {expected}")]
    Version {
        /// In the applied object.
        given: String,
        /// The endpoint's.
        expected: String,
    },
    /// 422 Invalid: list items that cannot be told apart.
    #[error("failed to create typed patch object ({object}): {why}")]
    Malformed {
        /// `namespace/name; group/version, Kind=K`
        object: String,
        /// The path and what is wrong there.
        why: String,
    },
}

/// A field that another manager owns; a cause of the 409.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `conflict with "A"`, `conflict with "X" using judge.example/v1`
    pub message: String,
    /// `.spec.size`
    pub field: String,
}

impl Conflict {
    /// The cause's reason.
    pub const REASON: &'static str = "FieldManagerConflict";
}

fn conflict_text(conflicts: &[Conflict]) -> String {
    if let [only] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", only.message, only.field);
    }
    let mut lines = Vec::new();
    let mut last = "";
    for conflict in conflicts {
        if conflict.message != last {
            last = &conflict.message;
            lines.push(format!("{}:", conflict.message.replacen("conflict", "conflicts", 1)));
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Who applies, and how.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// The field manager; empty is refused.
    pub manager: &'a str,
    /// Take over what others own.
    pub force: bool,
    /// `group/version` of the endpoint.
    pub api_version: &'a str,
    /// `status` or `scale` for an apply to a subresource.
    pub subresource: Option<&'a str>,
    /// For the manager's entry.
    pub now: Timestamp,
}

/// Server-side apply: merges `applied` into `live` (none: creates) and brings `metadata.managedFields` up to date.
///
/// The result equals `live` if nothing changed. Unknown fields of `applied` are left out. Defaults are the caller's: apply, then default,
/// prune, validate. With a status subresource ([`Schema::with_status_subresource`]) the endpoint takes only its own part of `applied`.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(live: Option<&Value>, applied: &Value, schema: &Schema, options: &ApplyOptions<'_>) -> Result<Value, ApplyError> {
    check(applied, options)?;
    let applied = prepare(applied, schema, options.subresource);
    if let Some(why) = merging::find_ambiguous(schema.root(), &applied, "") {
        return Err(ApplyError::Malformed { object: described(&applied), why });
    }
    let mut managers = managers_of(live, schema, options);
    let base = live.map_or_else(|| identity_of(&applied), managed_fields::without_entries);
    let merged = merging::merge(schema.root(), Some(&base), &applied);

    let me = Manager::apply(options.manager, options.subresource);
    let fields = in_scope(&typed::fields_of(schema.root(), &applied), schema, options.subresource);
    let before = managers.insert(me.clone(), Managed { fields, api_version: options.api_version.to_owned(), time: None });
    let pruned = prune(schema.root(), &merged, &managers, before.as_ref().map(|managed| &managed.fields));
    // A list or map that is applied empty, and that pruning emptied, is still wanted.
    let mut result = merging::merge(schema.root(), Some(&pruned), &applied);

    take_over(&base, &result, &mut managers, &me, schema, options)?;
    if let Some(mine) = managers.get_mut(&me) {
        mine.fields = mine.fields.difference(&managed_fields::servers_own());
        let unchanged = live.is_some() && base == result;
        let kept = before.and_then(|before| before.time).filter(|_| unchanged);
        mine.time = Some(kept.unwrap_or_else(|| managers::stamp(options.now)));
    }
    managers.retain(|_, managed| !managed.fields.is_empty());
    managed_fields::set_entries(&mut result, Some(&managers));
    Ok(result)
}

/// The managers so far. An object that has none, because it is older than its first apply, gets one that owns all of it.
fn managers_of(live: Option<&Value>, schema: &Schema, options: &ApplyOptions<'_>) -> Managers {
    let Some(live) = live else { return Managers::new() };
    if let Some(managers) = managed_fields::entries(live).and_then(managers::parse) {
        return managers;
    }
    let mut owned = live.clone();
    managed_fields::record_update(None, &mut owned, "before-first-apply", options.api_version, None, options.now, schema);
    managed_fields::entries(&owned).and_then(managers::parse).unwrap_or_default()
}

fn check(applied: &Value, options: &ApplyOptions<'_>) -> Result<(), ApplyError> {
    if options.manager.is_empty() {
        return Err(ApplyError::FieldManager);
    }
    if managed_fields::entries(applied).is_some() {
        return Err(ApplyError::ManagedFields);
    }
    match applied.get("apiVersion").and_then(Value::as_str) {
        Some(given) if given != options.api_version => {
            Err(ApplyError::Version { given: given.to_owned(), expected: options.api_version.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The part of the applied object that the endpoint takes, without what the schema does not know and without null metadata.
fn prepare(applied: &Value, schema: &Schema, subresource: Option<&str>) -> Value {
    let mut applied = applied.clone();
    schema.prune(&mut applied);
    let Value::Object(fields) = &mut applied else { return json!({}) };
    match subresource {
        Some("status") => {
            fields.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.retain(|name, _| matches!(name.as_str(), "name" | "namespace" | "uid" | "resourceVersion"));
            }
        }
        _ if schema.has_status_subresource() => {
            fields.remove("status");
        }
        _ => {}
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|_, value| !value.is_null());
    }
    applied
}

/// What an object that is created begins with.
fn identity_of(applied: &Value) -> Value {
    let keep = ["apiVersion", "kind"].into_iter().filter_map(|key| Some((key.to_owned(), applied.get(key)?.clone())));
    Value::Object(keep.collect::<Map<_, _>>())
}

fn described(applied: &Value) -> String {
    let text = |object: Option<&Value>, key: &str| {
        object.and_then(|object| object.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let metadata = applied.get("metadata");
    let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
    format!("{namespace}/{name}; {}, Kind={}", text(Some(applied), "apiVersion"), text(Some(applied), "kind"))
}

/// Takes out what this manager applied last time and does not now, unless someone else owns it.
fn prune(at: At<'_>, merged: &Value, managers: &Managers, last: Option<&FieldSet>) -> Value {
    let Some(last) = last.filter(|last| !last.is_empty()) else { return merged.clone() };
    let last = last.with_named_fields(at);
    let fields = |value: &Value| typed::fields_of(at, value).with_named_fields(at);
    let without = |set: &FieldSet| typed::without(at, merged, set).unwrap_or_else(|| json!({}));
    let all = fields(merged);
    let left = fields(&without(&last));
    let owned = managers.values().fold(FieldSet::default(), |owned, managed| owned.union(&managed.fields)).with_named_fields(at);
    // Back comes what has an owner; then what this manager never owned.
    let left = fields(&without(&all.difference(&left.union(&owned))));
    without(&all.difference(&left).intersection(&last))
}

/// Finds what the apply changes of others, and takes it from them, or tells of the conflicts.
fn take_over(
    base: &Value,
    result: &Value,
    managers: &mut Managers,
    me: &Manager,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> Result<(), ApplyError> {
    let difference = typed::compare(schema.root(), Some(base), Some(result));
    let changed = in_scope(&difference.changed, schema, options.subresource);
    let others = || managers.iter().filter(|(manager, _)| *manager != me);
    let conflict = |manager: &Manager, field| Conflict { message: format!("conflict with {}", manager.shown()), field };
    let mut conflicts: Vec<_> = others()
        .flat_map(|(manager, managed)| managed.fields.intersection(&changed).paths().into_iter().map(|field| conflict(manager, field)))
        .collect();
    if !conflicts.is_empty() && !options.force {
        conflicts.sort_by(|left, right| (&left.message, &left.field).cmp(&(&right.message, &right.field)));
        return Err(ApplyError::Conflict(conflicts));
    }
    for (_, managed) in managers.iter_mut().filter(|(manager, _)| *manager != me) {
        managed.fields = managed.fields.difference(&changed).difference(&difference.removed);
    }
    Ok(())
}
