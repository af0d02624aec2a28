//! Who wrote which field of an object, as its `managedFields` say (structured-merge-diff's `fieldsV1`). Pure.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use super::drift::{Path, Step};
use mesh_api::labels;

/// Those who own one of these fields and are not this controller.
pub(super) fn others(entries: &[ManagedFieldsEntry], paths: &[Path]) -> Vec<String> {
    let mut names: Vec<String> = entries
        .iter()
        .filter(|entry| !is_us(entry) && paths.iter().any(|path| owns(entry, path)))
        .filter_map(|entry| entry.manager.clone())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether only this controller owns a field, so that the field would go if it let go of it.
pub(super) fn only_ours(entries: &[ManagedFieldsEntry], path: &Path) -> bool {
    let mut owners = entries.iter().filter(|entry| owns(entry, path)).peekable();
    owners.peek().is_some() && owners.all(is_us)
}

/// Everybody who has written to the object, for people.
pub(super) fn everybody(entries: &[ManagedFieldsEntry]) -> Vec<String> {
    let mut names: Vec<String> = entries.iter().filter_map(|entry| entry.manager.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn is_us(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(labels::FIELD_MANAGER) && entry.operation.as_deref() == Some("Apply")
}

fn owns(entry: &ManagedFieldsEntry, path: &Path) -> bool {
    let Some(mut node) = entry.fields_v1.as_ref().map(|fields| &fields.0) else { return false };
    for step in &path.0 {
        let Some(children) = node.as_object() else { return false };
        let next = match step {
            Step::Field(name) => children.get(&format!("f:{name}")),
            Step::Item(key) => children.iter().find_map(|(name, child)| {
                let theirs: Value = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
                key.iter().all(|(field, value)| theirs.get(field) == Some(value)).then_some(child)
            }),
        };
        match next {
            Some(next) => node = next,
            // A leaf, or a list or map that is owned as a whole.
            None => return children.is_empty(),
        }
    }
    true
}
