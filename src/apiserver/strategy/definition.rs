//! `CustomResourceDefinition`s: what makes one valid, its status, and what holds it while it has objects.
mod groups;
pub(crate) mod names;
mod paths;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::names::{Accepted, Taken};
use crate::{
    object,
    registry::is_established,
    schema::{FieldError, Reason, Schema, cost},
};

/// By it a definition stays until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten()
}

/// Fills in the names that can be derived, and the status: it is established at once, unless another definition has its names.
pub(crate) fn establish(definition: &mut Value, old: Option<&Value>, taken: &Taken, now: Timestamp) {
    let kind = object::text(definition, "/spec/names/kind").unwrap_or_default().to_owned();
    if object::text(definition, "/spec/names/singular").is_none() {
        object::set_at(definition, "/spec/names/singular", kind.to_lowercase().into());
    }
    if object::text(definition, "/spec/names/listKind").is_none() {
        object::set_at(definition, "/spec/names/listKind", format!("{kind}List").into());
    }
    if definition.pointer("/spec/conversion").is_none() {
        object::set_at(definition, "/spec/conversion", json!({"strategy": "None"}));
    }
    let Accepted { names, conflict } = names::accept(definition, old.and_then(|old| old.pointer("/status/acceptedNames")), taken);
    let conditions = conditions(definition, old, conflict.as_ref(), now);
    let stored = stored_versions(definition, old);
    object::set_at(definition, "/status", json!({"acceptedNames": names, "conditions": conditions, "storedVersions": stored}));
}

/// Who was established once stays so, with the names that it has.
fn conditions(definition: &Value, old: Option<&Value>, conflict: Option<&(&'static str, String)>, now: Timestamp) -> Vec<Value> {
    let make = |kind: &str, status: &str, reason: &str, message: &str| {
        let before = old.and_then(|old| object::condition(old, kind)).filter(|before| before.get("status") == Some(&json!(status)));
        let since = before.and_then(|before| before.get("lastTransitionTime")).cloned().unwrap_or_else(|| object::seconds(now));
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let established = make("Established", "True", "InitialNamesAccepted", "the initial names have been accepted");
    let mut conditions = match conflict {
        None => vec![make("NamesAccepted", "True", "NoConflicts", "no conflicts found"), established],
        Some((reason, message)) if old.is_some_and(is_established) => vec![make("NamesAccepted", "False", reason, message), established],
        Some((reason, message)) => {
            let not = make("Established", "False", "NotAccepted", "not all names are accepted");
            vec![make("NamesAccepted", "False", reason, message), not]
        }
    };
    if object::is_dying(definition) {
        conditions.push(make("Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"));
    }
    conditions
}

/// The versions that something may be stored in: those of before that are still known, and the one of now.
fn stored_versions(definition: &Value, old: Option<&Value>) -> Vec<String> {
    let kept = |version: &str| versions(definition).any(|known| known.get("name").and_then(Value::as_str) == Some(version));
    let stored_before = old.and_then(|old| old.pointer("/status/storedVersions")).and_then(Value::as_array).into_iter().flatten();
    let mut stored: Vec<String> = stored_before.filter_map(Value::as_str).filter(|version| kept(version)).map(str::to_owned).collect();
    let storage = versions(definition).find(|version| version.get("storage") == Some(&json!(true))).and_then(|version| version.get("name"));
    if let Some(storage) = storage.and_then(Value::as_str)
        && !stored.iter().any(|version| version == storage)
    {
        stored.push(storage.to_owned());
    }
    stored
}

/// Lets its objects go before it.
pub(super) fn hold(definition: &mut Value) {
    let mut finalizers: Vec<String> = object::finalizers(definition).into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
        object::set_finalizers(definition, finalizers);
    }
}

fn error(reason: Reason, field: impl Into<String>, message: impl Into<String>) -> FieldError {
    FieldError { reason, message: message.into(), field: field.into() }
}

/// What is wrong with a definition beyond its own schema.
pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let text = |pointer: &str| object::text(new, pointer).unwrap_or_default();
    let mut errors = Vec::new();
    let (group, plural) = (text("/spec/group"), text("/spec/names/plural"));
    for (field, value) in [("spec.group", group), ("spec.names.plural", plural), ("spec.names.kind", text("/spec/names/kind"))] {
        if value.is_empty() {
            errors.push(error(Reason::Required, field, "Required value"));
        }
    }
    if errors.is_empty() && object::name(new) != format!("{plural}.{group}") {
        let name = object::name(new);
        errors.push(error(
            Reason::Invalid,
            "metadata.name",
            format!("Invalid value: {name:?}: must be spec.names.plural+\".\"+spec.group"),
        ));
    }
    let scope = text("/spec/scope");
    if !matches!(scope, "Namespaced" | "Cluster") {
        let message = format!("Unsupported value: {scope:?}: supported values: \"Cluster\", \"Namespaced\"");
        errors.push(error(Reason::NotSupported, "spec.scope", message));
    }
    for (pointer, field) in [("/spec/group", "spec.group"), ("/spec/scope", "spec.scope"), ("/spec/names/kind", "spec.names.kind")] {
        if old.is_some_and(|old| old.pointer(pointer) != new.pointer(pointer)) {
            errors.push(error(Reason::Invalid, field, format!("Invalid value: {:?}: field is immutable", text(pointer))));
        }
    }
    errors.extend(groups::check(new, old));
    validate_versions(new, &mut errors);
    errors
}

fn validate_versions(new: &Value, errors: &mut Vec<FieldError>) {
    let mut names = BTreeSet::new();
    let storage = versions(new).filter(|version| version.get("storage") == Some(&json!(true))).count();
    if storage != 1 {
        errors.push(error(Reason::Invalid, "spec.versions", "Invalid value: must have exactly one version marked as storage version"));
    }
    for (at, version) in versions(new).enumerate() {
        let field = format!("spec.versions[{at}]");
        let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            errors.push(error(Reason::Required, format!("{field}.name"), "Required value"));
        } else if !names.insert(name) {
            errors.push(error(Reason::Duplicate, format!("{field}.name"), format!("Duplicate value: {name:?}")));
        }
        let path = format!("{field}.schema.openAPIV3Schema");
        match version.pointer("/schema/openAPIV3Schema") {
            None => errors.push(error(Reason::Required, path, "Required value: schemas are required")),
            Some(schema) => {
                let found = Schema::from_open_api(schema).err().unwrap_or_else(|| cost::check(schema));
                let place = |field: String| if field.is_empty() { path.clone() } else { format!("{path}.{field}") };
                errors.extend(found.into_iter().map(|found| FieldError { field: place(found.field), ..found }));
            }
        }
        errors.extend(paths::check(version, &field));
    }
    if object::text(new, "/spec/conversion/strategy") == Some("Webhook") {
        let message = "Unsupported value: \"Webhook\": supported values: \"None\"";
        errors.push(error(Reason::NotSupported, "spec.conversion.strategy", message));
    }
}
