//! One stored object: its key, its revision, its JSON as compact bytes, and the labels that selectors look at.
use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Which object: the resource (`plural.group`, the core group without a dot), the namespace (empty for cluster scope) and the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// `configmaps`, `meshservices.mesh-controller.dev`.
    pub resource: Arc<str>,
    /// Empty for cluster scope.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl Key {
    /// A key of these parts.
    pub fn new(resource: impl Into<Arc<str>>, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// One stored object. Immutable: a write makes a new one.
#[derive(Debug)]
pub struct Entry {
    /// Which object.
    pub key: Key,
    /// The revision of its last write.
    pub revision: u64,
    /// The object, `metadata.resourceVersion` included.
    pub json: Bytes,
    /// Its labels, sorted by name.
    pub labels: Box<[(Box<str>, Box<str>)]>,
}

#[derive(Deserialize, Default)]
struct Head {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    labels: Option<BTreeMap<Box<str>, Box<str>>>,
}

impl Entry {
    /// An entry of bytes that were read back.
    pub(super) fn from_json(key: Key, revision: u64, json: Bytes) -> Result<Self, serde_json::Error> {
        let head: Head = serde_json::from_slice(&json)?;
        let labels = head.metadata.labels.unwrap_or_default().into_iter().collect();
        Ok(Self { key, revision, json, labels })
    }

    /// An entry of a value at a revision, which is written into it.
    pub(super) fn from_value(key: Key, revision: u64, value: &mut Value) -> Result<Self, serde_json::Error> {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        }
        let json = Bytes::from(serde_json::to_vec(value)?);
        let labels = value
            .pointer("/metadata/labels")
            .and_then(Value::as_object)
            .map(|labels| labels.iter().filter_map(|(name, value)| Some((name.as_str().into(), value.as_str()?.into()))).collect())
            .unwrap_or_default();
        Ok(Self { key, revision, json, labels })
    }

    /// The object, parsed. What was stored was JSON, so there always is one.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_else(|error| {
            tracing::error!(resource = %self.key.resource, name = %self.key.name, %error, "a stored object is not JSON");
            Value::Null
        })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(label, _)| label.as_ref().cmp(name)).ok()?;
        self.labels.get(at).map(|(_, value)| value.as_ref())
    }
}
