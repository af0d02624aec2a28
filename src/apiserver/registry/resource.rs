//! One served resource: everything the one path for all kinds needs to know of a kind.
use std::{cmp::Reverse, sync::Arc};

use serde_json::Value;

use super::events_v1;
use crate::{group_resource::GroupResource, schema::Schema, table::Columns};
use mesh_store::{Entry, Key};

/// What is special about a kind. Everything else is data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Nothing.
    Plain,
    /// Holds others; ends in two steps.
    Namespace,
    /// Defines resources.
    Definition,
    /// `events.k8s.io/v1`: stored as a core Event.
    EventsV1,
    /// `kubectl` asks for it, and there is never one.
    Empty,
    /// Only ever posted, answered at once and not stored (`SelfSubjectAccessReview` and the like).
    Review,
}

/// Where `/scale` reads and writes, as paths of field names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) label_selector: Option<String>,
}

/// One resource in one version.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a kind")]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<ScalePaths>,
    /// Field selectors beside `metadata.name` and `metadata.namespace`: the label, and the JSON pointer into the stored object.
    pub(crate) selectable: Vec<(String, String)>,
    pub(crate) columns: Columns,
    /// None where nothing is ever stored.
    pub(crate) schema: Option<Schema>,
    /// It keeps `metadata.generation`.
    pub(crate) generation: bool,
    pub(crate) behaviour: Behaviour,
    /// The store's name of it, which all versions share.
    pub(crate) storage: Arc<str>,
    /// Stored objects of this version differ from what is answered, so each is parsed and converted.
    pub(crate) convert: bool,
    /// Objects written before this revision get the defaults of the schema as it is now when they are read.
    pub(crate) revision: u64,
    /// The definition it comes from; none for a built-in one.
    pub(crate) definition: Option<String>,
    /// Its definition is being deleted: no new objects.
    pub(crate) terminating: bool,
}

impl Resource {
    /// What it is called in errors.
    pub(crate) fn group_resource(&self) -> GroupResource<'_> {
        GroupResource { group: &self.group, plural: &self.plural, kind: &self.kind }
    }

    /// `judge.example/v1`, `v1`
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub(crate) fn is_custom(&self) -> bool {
        self.definition.is_some()
    }

    pub(crate) fn key(&self, namespace: &str, name: &str) -> Key {
        Key::new(Arc::clone(&self.storage), namespace, name)
    }

    /// The verbs of discovery.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        match self.behaviour {
            Behaviour::Empty => &["get", "list", "watch"],
            Behaviour::Review => &["create"],
            Behaviour::Plain | Behaviour::Namespace | Behaviour::Definition | Behaviour::EventsV1 => {
                &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            }
        }
    }

    /// Whether a stored object can be answered as its bytes, with kind and version put before them.
    pub(crate) fn is_verbatim(&self, entry: &Entry) -> bool {
        !self.convert && entry.revision >= self.revision
    }

    /// A stored object as this version shows it.
    pub(crate) fn view(&self, entry: &Entry) -> Value {
        let mut value = entry.value();
        if self.behaviour == Behaviour::EventsV1 {
            value = events_v1::to_events_v1(value);
        }
        self.name_kind(&mut value);
        if !self.is_verbatim(entry)
            && self.is_custom()
            && let Some(schema) = &self.schema
        {
            schema.prune(&mut value);
            schema.default(&mut value);
        }
        value
    }

    /// What is stored of an object of this version: without kind and version, which the reader knows.
    pub(crate) fn unview(&self, mut value: Value) -> Value {
        if self.behaviour == Behaviour::EventsV1 {
            value = events_v1::to_core_v1(value);
        }
        if let Some(object) = value.as_object_mut() {
            object.remove("apiVersion");
            object.remove("kind");
        }
        value
    }

    /// Writes kind and version into an object.
    pub(crate) fn name_kind(&self, value: &mut Value) {
        if let Some(object) = value.as_object_mut() {
            object.insert("apiVersion".to_owned(), Value::String(self.api_version()));
            object.insert("kind".to_owned(), Value::String(self.kind.clone()));
        }
    }

    /// `{"apiVersion":…,"kind":…,` to put before the bytes of a stored object, in place of their first brace.
    pub(crate) fn prefix(&self) -> String {
        format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", self.api_version(), self.kind)
    }
}

/// Sorts versions as Kubernetes does: stable before beta before alpha, higher first, anything else last.
pub(super) fn version_order(version: &str) -> (u8, Reverse<u32>, Reverse<u32>, String) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (major, stage) = rest.split_at(digits);
        let major = major.parse::<u32>().ok()?;
        if stage.is_empty() {
            return Some((0, major, 0));
        }
        let (rank, minor) =
            stage.strip_prefix("beta").map(|minor| (1, minor)).or_else(|| stage.strip_prefix("alpha").map(|minor| (2, minor)))?;
        Some((rank, major, minor.parse().ok()?))
    });
    let (rank, major, minor) = parsed.unwrap_or((3, 0, 0));
    (rank, Reverse(major), Reverse(minor), version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_stable_first_and_higher_first() {
        let mut versions = ["v1alpha1", "foo10", "v2beta1", "v1", "v10", "v2", "v1beta2", "foo1"];
        versions.sort_by_key(|version| version_order(version));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo1", "foo10"]);
    }
}
