//! The objects that one of ours is made of in a cluster: what each should be, what there is of it, and how that is brought about. Called by the drivers of a
//! cluster, whose leader writes.
mod apply;
mod drift;
mod memory;
mod owners;
mod refused;

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{Client, Resource, ResourceExt, api::ApiResource, runtime::controller::Action};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::memory::Memory;
use super::{Error, notes::Notes};
use mesh_api::labels;
use mesh_coordination::is_not_leader;
use mesh_kit::backoff::Backoff;

pub(crate) use self::apply::Applied;

/// Between tries of a reconcile that failed, for each object by itself.
const RETRY: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(60) };

/// Whose objects they are, and what it takes to write them.
pub(crate) struct Owner<'a, K> {
    pub(crate) client: &'a Client,
    pub(crate) notes: &'a Notes,
    /// The namespace of the controllers themselves.
    pub(crate) system_namespace: &'a str,
    pub(crate) object: &'a K,
}

/// What is remembered of each owner, by its uid.
#[derive(Clone, Default)]
pub(crate) struct Memories(Arc<Mutex<HashMap<String, Remembered>>>);

#[derive(Default)]
struct Remembered {
    memory: Memory,
    failures: u32,
}

impl Memories {
    fn with<T>(&self, owner: &impl Resource, act: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(all.entry(owner.uid().unwrap_or_default()).or_default())
    }

    pub(crate) fn forget(&self, owner: &impl Resource) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&owner.uid().unwrap_or_default());
    }

    /// What its reconcile came to. Where another process leads by now, that is for the other one to see to.
    pub(crate) fn came_to(&self, owner: &impl Resource, outcome: Result<Action, Error>) -> Result<Action, Error> {
        match &outcome {
            Ok(_) => self.with(owner, |remembered| remembered.failures = 0),
            Err(Error::Api { error, .. }) if is_not_leader(error) => return Ok(Action::await_change()),
            Err(_) => {}
        }
        outcome
    }

    /// After an error: soon again, then ever later; each owner by itself.
    pub(crate) fn failed(&self, owner: &impl Resource, error: &Error) -> Action {
        let failures = self.with(owner, |remembered| {
            remembered.failures = remembered.failures.saturating_add(1);
            remembered.failures
        });
        if failures > 1 {
            tracing::warn!(%error, failures, "reconcile failed; it is tried again");
        }
        Action::requeue(RETRY.delay(failures + 1, rand::random()))
    }
}

/// One of them.
pub(crate) struct Child {
    pub(crate) resource: ApiResource,
    pub(crate) name: String,
    /// What it should be, with its hash; none: it should not be.
    pub(crate) wanted: Option<Rendered>,
    /// What there is of the name, as far as is known.
    pub(crate) live: Option<Live>,
}

/// What an object should be.
pub(crate) struct Rendered {
    /// With the hash as an annotation.
    pub(crate) body: Value,
    pub(crate) hash: String,
}

/// What there is.
pub(crate) struct Live {
    pub(crate) object: Value,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    /// The owner controls it.
    pub(crate) is_ours: bool,
    pub(crate) is_deleted: bool,
}

/// `Deployment web`
impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.name)
    }
}

impl Live {
    /// What an object says of itself.
    pub(crate) fn of<K: Resource + serde::Serialize>(object: &K, owner: &impl Resource) -> Self {
        Self {
            object: value(object),
            uid: object.meta().uid.clone(),
            version: object.meta().resource_version.clone(),
            is_ours: is_of(object, owner),
            is_deleted: object.meta().deletion_timestamp.is_some(),
        }
    }
}

/// One of them, of that kind and name.
pub(crate) fn child<K: Resource<DynamicType = ()> + serde::Serialize>(
    owner: &impl Resource,
    name: &str,
    wanted: Option<&K>,
    live: Option<&K>,
) -> Child {
    Child {
        resource: ApiResource::erase::<K>(&()),
        name: name.to_owned(),
        wanted: wanted.map(|object| rendered(value(object))),
        live: live.map(|object| Live::of(object, owner)),
    }
}

/// The hash of what was rendered.
pub(crate) fn hash<K: serde::Serialize>(object: &K) -> String {
    let digest = Sha256::digest(value(object).to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hashes what was rendered, and writes the hash on it.
fn rendered(mut body: Value) -> Rendered {
    let hash = hash(&body);
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(labels::RENDERED.to_owned(), json!(hash));
        }
    }
    Rendered { body, hash }
}

/// Whether an object is controlled by this very owner.
pub(crate) fn is_of(object: &impl Resource, owner: &impl Resource) -> bool {
    let owners = object.meta().owner_references.iter().flatten();
    owner.meta().uid.is_some()
        && owners.into_iter().any(|found| found.controller == Some(true) && Some(&found.uid) == owner.meta().uid.as_ref())
}

/// An object as the API has it.
fn value<K: serde::Serialize>(object: &K) -> Value {
    // What came from the API as JSON can be written as JSON.
    serde_json::to_value(object).unwrap_or_default()
}
