//! The entries of `metadata.managedFields` as a map from manager to fields.
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::field_set::FieldSet;

/// More update managers than this are merged into one, the oldest first.
const MOST_UPDATERS: usize = 10;

/// Who manages fields. Orders as the entries do, but for their times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manager {
    /// Applies come before updates.
    pub(crate) operation: Operation,
    pub(crate) name: String,
    /// Empty for an apply: one applies in whatever version.
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

/// How fields came to be managed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

impl Manager {
    pub(crate) fn apply(name: &str, subresource: Option<&str>) -> Self {
        let subresource = subresource.unwrap_or_default().to_owned();
        Self { operation: Operation::Apply, name: name.to_owned(), api_version: String::new(), subresource }
    }

    pub(crate) fn update(name: &str, api_version: &str, subresource: Option<&str>) -> Self {
        let subresource = subresource.unwrap_or_default().to_owned();
        Self { operation: Operation::Update, name: name.to_owned(), api_version: api_version.to_owned(), subresource }
    }

    /// As a conflict names it: `"A"`, `"X" using judge.example/v1`.
    pub(crate) fn shown(&self) -> String {
        let subresource = if self.subresource.is_empty() { String::new() } else { format!(" with subresource {:?}", self.subresource) };
        match self.operation {
            Operation::Apply => format!("{:?}{subresource}", self.name),
            Operation::Update => format!("{:?}{subresource} using {}", self.name, self.api_version),
        }
    }
}

/// What one manager manages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Managed {
    pub(crate) fields: FieldSet,
    pub(crate) api_version: String,
    /// RFC 3339, whole seconds; an entry from elsewhere may have none.
    pub(crate) time: Option<String>,
}

/// All managers of an object.
pub(crate) type Managers = BTreeMap<Manager, Managed>;

/// Reads the entries; `None` if they are not of the form that this server writes.
pub(crate) fn parse(entries: &Value) -> Option<Managers> {
    entries.as_array()?.iter().map(parse_entry).collect()
}

fn parse_entry(entry: &Value) -> Option<(Manager, Managed)> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let api_version = text("apiVersion");
    let (operation, identity) = match entry.get("operation")?.as_str()? {
        "Apply" => (Operation::Apply, String::new()),
        "Update" => (Operation::Update, api_version.clone()),
        _ => return None,
    };
    let fields = FieldSet::parse(entry.get("fieldsV1").unwrap_or(&Value::Null));
    let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
    let manager = Manager { operation, name: text("manager"), api_version: identity, subresource: text("subresource") };
    Some((manager, Managed { fields, api_version, time }))
}

/// The entries: applies first, then by time and name; empty ones are left out.
pub(crate) fn encode(managers: &Managers) -> Value {
    let mut entries: Vec<_> = managers.iter().filter(|(_, managed)| !managed.fields.is_empty()).collect();
    entries.sort_by(|(left, one), (right, other)| (left.operation, &one.time, left).cmp(&(right.operation, &other.time, right)));
    entries.into_iter().map(|(manager, managed)| encode_entry(manager, managed)).collect()
}

fn encode_entry(by: &Manager, managed: &Managed) -> Value {
    let operation = match by.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = Map::new();
    entry.insert("manager".to_owned(), json!(by.name));
    entry.insert("operation".to_owned(), json!(operation));
    entry.insert("apiVersion".to_owned(), json!(managed.api_version));
    if let Some(time) = &managed.time {
        entry.insert("time".to_owned(), json!(time));
    }
    entry.insert("fieldsType".to_owned(), json!("FieldsV1"));
    entry.insert("fieldsV1".to_owned(), managed.fields.encode());
    if !by.subresource.is_empty() {
        entry.insert("subresource".to_owned(), json!(by.subresource));
    }
    Value::Object(entry)
}

/// A time as an entry has it.
pub(crate) fn stamp(now: Timestamp) -> String {
    format!("{now:.0}")
}

/// Merges the oldest update managers of a version, so that a crowd of them does not make the object grow for ever.
pub(crate) fn cap(managers: &mut Managers) {
    let mut updaters: Vec<_> = managers.iter().filter(|(manager, _)| manager.operation == Operation::Update).collect();
    let Some(excess) = updaters.len().checked_sub(MOST_UPDATERS).filter(|excess| *excess > 0) else { return };
    updaters.sort_by(|(left, one), (right, other)| (&one.time, left).cmp(&(&other.time, right)));
    let oldest: Vec<Manager> = updaters.into_iter().take(excess + 1).map(|(manager, _)| manager.clone()).collect();
    for manager in oldest {
        let Some(managed) = managers.remove(&manager) else { continue };
        let bucket = Manager::update("ancient-changes", &managed.api_version, None);
        let fields = managers.remove(&bucket).map_or_else(|| managed.fields.clone(), |older| older.fields.union(&managed.fields));
        managers.insert(bucket, Managed { fields, ..managed });
    }
}
