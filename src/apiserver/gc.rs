//! Garbage collection by owner references: background, foreground and orphan. Level-based: each look decides from what is stored now.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    object,
    rest::{self, Deletion, Propagation},
    state::State,
};
use mesh_store::{Entry, Event, Key, Store, WriteError};

/// One owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    uid: String,
    blocks: bool,
}

fn owners(object: &Value) -> Vec<Owner> {
    let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let owner = |reference: &Value| {
        let uid = reference.get("uid")?.as_str()?.to_owned();
        Some(Owner { uid, blocks: reference.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false) })
    };
    references.filter_map(owner).collect()
}

/// Who is there, and who owns whom; follows the store's events.
#[derive(Debug, Default)]
struct Graph {
    /// Every object by uid.
    objects: HashMap<String, Key>,
    /// Owner uid → its dependents.
    dependents: HashMap<String, HashSet<Key>>,
}

impl Graph {
    /// Takes in an object as it is now, and says which objects are to be looked at.
    fn put(&mut self, entry: &Entry, before: Option<&Entry>) -> Vec<Key> {
        let mut concerned = before.map(|before| self.disown(before)).unwrap_or_default();
        let object = entry.value();
        self.objects.insert(object::uid(&object).to_owned(), entry.key.clone());
        let owners = owners(&object);
        for owner in &owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(entry.key.clone());
        }
        if !owners.is_empty() || object::is_dying(&object) {
            concerned.push(entry.key.clone());
        }
        concerned
    }

    /// Takes an object out, and says which objects are to be looked at: what it owned, and who may have waited for it.
    fn remove(&mut self, entry: &Entry) -> Vec<Key> {
        let mut concerned = self.disown(entry);
        let object = entry.value();
        self.objects.remove(object::uid(&object));
        concerned.extend(self.dependents.get(object::uid(&object)).into_iter().flatten().cloned());
        concerned
    }

    /// Forgets an object's owners; they may have waited for it.
    fn disown(&mut self, entry: &Entry) -> Vec<Key> {
        let mut concerned = Vec::new();
        for owner in owners(&entry.value()) {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&entry.key);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
            concerned.extend(self.objects.get(&owner.uid).cloned());
        }
        concerned
    }

    /// Whether `uid` is among the owners of an object, their owners, and so on: then the two wait for each other if each goes first.
    fn is_above(&self, store: &Store, uid: &str, object: &Value) -> bool {
        let (mut next, mut seen): (Vec<String>, HashSet<String>) =
            (owners(object).into_iter().map(|owner| owner.uid).collect(), HashSet::new());
        while let Some(owner) = next.pop() {
            if owner == uid {
                return true;
            }
            let above = self.objects.get(&owner).and_then(|key| store.get(key)).map(|entry| owners(&entry.value())).unwrap_or_default();
            if seen.insert(owner) {
                next.extend(above.into_iter().map(|owner| owner.uid));
            }
        }
        false
    }

    fn follow(&mut self, event: &Event) -> Vec<Key> {
        match (&event.before, event.deleted) {
            (Some(before), true) => self.remove(before),
            (None, true) => self.remove(&event.object),
            (before, false) => self.put(&event.object, before.as_deref()),
        }
    }
}

/// Collects for as long as the server runs.
pub(crate) async fn collect(server: Arc<State>) {
    loop {
        let mut graph = Graph::default();
        let listing = server.store.list_all();
        let mut watcher = server.store.watch(listing.revision);
        let mut concerned: BTreeSet<Key> = listing.entries.iter().flat_map(|entry| graph.put(entry, None)).collect();
        attend_all(&server, &graph, watcher.cursor(), std::mem::take(&mut concerned)).await;
        // Out of the ring: build the graph anew.
        while let Ok(events) = watcher.next("").await {
            concerned.extend(events.iter().flat_map(|event| graph.follow(event)));
            attend_all(&server, &graph, watcher.cursor(), std::mem::take(&mut concerned)).await;
        }
    }
}

/// Looks at objects that are not newer than the graph; a newer one's event is still to come, and its owners may be newer than the graph too.
async fn attend_all(server: &State, graph: &Graph, cursor: u64, keys: BTreeSet<Key>) {
    for key in keys {
        let Some(entry) = server.store.get(&key).filter(|entry| entry.revision <= cursor) else { continue };
        if let Err(error) = attend(server, graph, &entry).await {
            tracing::warn!(resource = %key.resource, name = %key.name, %error, "an object could not be collected; it is looked at again when it changes");
        }
    }
}

async fn attend(server: &State, graph: &Graph, entry: &Entry) -> Result<(), WriteError> {
    let object = entry.value();
    let finalizers = object::finalizers(&object);
    if object::is_dying(&object) && finalizers.contains(&"orphan") {
        return orphan_dependents(server, graph, entry, &object).await;
    }
    if object::is_dying(&object) && finalizers.contains(&"foregroundDeletion") {
        return delete_dependents(server, graph, entry, &object).await;
    }
    let owners = owners(&object);
    let (alive, gone): (Vec<_>, Vec<_>) = owners.iter().partition(|owner| graph.objects.contains_key(&owner.uid));
    if gone.is_empty() || object::is_dying(&object) {
        return Ok(());
    }
    if alive.is_empty() {
        return delete(server, entry, object::uid(&object), None).await;
    }
    let gone: Vec<String> = gone.into_iter().map(|owner| owner.uid.clone()).collect();
    drop_owners(server, entry, &gone).await
}

async fn delete(server: &State, entry: &Entry, uid: &str, propagation: Option<Propagation>) -> Result<(), WriteError> {
    let registry = server.registry();
    let Some(resource) = registry.stored(&entry.key.resource) else { return Ok(()) };
    // Exactly what was looked at: an object of that name made anew is another.
    let deletion = Deletion { uid: Some(uid.to_owned()), propagation, ..Deletion::default() };
    match rest::remove(server, resource, &entry.key.namespace, &entry.key.name, &deletion).await {
        Ok(_) => {
            tracing::debug!(resource = %entry.key.resource, namespace = %entry.key.namespace, name = %entry.key.name, "collected");
            Ok(())
        }
        Err(error) if matches!(error.code().as_u16(), 404 | 409) => Ok(()),
        Err(error) => Err(WriteError::Refused(error.to_value().to_string())),
    }
}

async fn drop_owners(server: &State, entry: &Entry, gone: &[String]) -> Result<(), WriteError> {
    let without = |object: &mut Value| {
        let Some(Value::Array(references)) = object.pointer_mut("/metadata/ownerReferences") else { return false };
        let before = references.len();
        references.retain(|reference| !reference.get("uid").and_then(Value::as_str).is_some_and(|uid| gone.iter().any(|gone| gone == uid)));
        if references.is_empty() {
            object::metadata(object).remove("ownerReferences");
            return true;
        }
        references.len() != before
    };
    rest::alter(server, entry, without).await.map(|_| ())
}

fn without_finalizer(server: &State, entry: &Entry, finalizer: &'static str) -> impl Future<Output = Result<bool, WriteError>> {
    rest::alter(server, entry, move |object| {
        let had = object::finalizers(object).len();
        let kept: Vec<String> = object::finalizers(object).into_iter().filter(|other| *other != finalizer).map(str::to_owned).collect();
        let differs = kept.len() != had;
        object::set_finalizers(object, kept);
        differs
    })
}

async fn orphan_dependents(server: &State, graph: &Graph, entry: &Entry, object: &Value) -> Result<(), WriteError> {
    let uid = object::uid(object).to_owned();
    for key in graph.dependents.get(&uid).into_iter().flatten() {
        if let Some(dependent) = server.store.get(key) {
            drop_owners(server, &dependent, std::slice::from_ref(&uid)).await?;
        }
    }
    without_finalizer(server, entry, "orphan").await.map(|_| ())
}

/// Foreground: dependents first; those that block hold the owner until they are gone.
async fn delete_dependents(server: &State, graph: &Graph, entry: &Entry, object: &Value) -> Result<(), WriteError> {
    let uid = object::uid(object);
    let mut blocking = false;
    for key in graph.dependents.get(uid).into_iter().flatten() {
        let Some(dependent) = server.store.get(key) else { continue };
        let value = dependent.value();
        let owners = owners(&value);
        // It owns itself, or owns what owns it: who waited for it would wait for ever.
        let is_above = graph.is_above(&server.store, object::uid(&value), object);
        let others_alive = owners.iter().any(|owner| owner.uid != uid && graph.objects.contains_key(&owner.uid));
        if others_alive {
            drop_owners(server, &dependent, &[uid.to_owned()]).await?;
            continue;
        }
        if !object::is_dying(&value) {
            // Its own dependents go first as well.
            delete(server, &dependent, object::uid(&value), Some(Propagation::Foreground)).await?;
        }
        blocking |= !is_above && owners.iter().any(|owner| owner.uid == uid && owner.blocks) && server.store.get(key).is_some();
    }
    if blocking { Ok(()) } else { without_finalizer(server, entry, "foregroundDeletion").await.map(|_| ()) }
}
