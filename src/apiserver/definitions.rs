//! The task that removes a deleted definition's objects before it, and gives names that came free to who waits for them.
use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use crate::{
    object,
    registry::CRDS,
    rest::{self, Deletion},
    state::State,
    strategy::definition::{FINALIZER, establish, names::Taken},
};
use mesh_kit::clock;
use mesh_store::Key;

/// Watches everything, and brings each deleted definition to its end: its objects first, then it. Ends only with the server.
pub(crate) async fn clean_up(server: Arc<State>) {
    loop {
        let start = server.store.revision();
        let mut watcher = server.store.watch(start);
        for entry in server.store.list(CRDS, None).entries {
            attend(&server, &entry.key).await;
        }
        reconsider(&server).await;
        // Out of the ring: look at everything again.
        while let Ok(events) = watcher.next("").await {
            let keys: BTreeSet<Key> = events
                .iter()
                .filter_map(|event| {
                    let key = &event.object.key;
                    if *key.resource == *CRDS {
                        Some(key.clone())
                    } else {
                        event.deleted.then(|| Key::new(CRDS, "", Arc::clone(&key.resource)))
                    }
                })
                .collect();
            for key in keys {
                attend(&server, &key).await;
            }
            if events.iter().any(|event| event.deleted && *event.object.key.resource == *CRDS) {
                reconsider(&server).await;
            }
        }
    }
}

/// Names came free: who waits for them gets them.
async fn reconsider(server: &State) {
    for entry in server.store.list(CRDS, None).entries {
        if object::condition(&entry.value(), "NamesAccepted").is_none_or(|condition| condition.get("status") == Some(&json!("True"))) {
            continue;
        }
        let again = |definition: &mut Value| {
            let old = definition.clone();
            establish(definition, Some(&old), &Taken::beside(&server.store, &old), clock::now());
            *definition != old
        };
        if let Err(error) = rest::alter(server, &entry, again).await {
            tracing::warn!(definition = %entry.key.name, %error, "the names of a definition could not be considered again");
        }
    }
}

async fn attend(server: &State, key: &Key) {
    let Some(entry) = server.store.get(key) else { return };
    let definition = entry.value();
    if !object::is_dying(&definition) || !object::finalizers(&definition).contains(&FINALIZER) {
        return;
    }
    let registry = server.registry();
    // Only what it defines: objects of a built-in resource of its name are not its own.
    let defined = registry.stored(&key.name).filter(|resource| resource.definition.as_deref() == Some(&*key.name));
    if let Some(resource) = defined {
        for object in server.store.list(&key.name, None).entries {
            // Not found is as good, and what is held comes back here when it is gone.
            let _ = rest::remove(server, resource, &object.key.namespace, &object.key.name, &Deletion::default()).await;
        }
    }
    if registry.is_built_in(&key.name) || server.store.list(&key.name, None).entries.is_empty() {
        let drop_finalizer = |definition: &mut Value| {
            let kept = object::finalizers(definition).into_iter().filter(|finalizer| *finalizer != FINALIZER).map(str::to_owned).collect();
            object::set_finalizers(definition, kept);
            true
        };
        if let Err(error) = rest::alter(server, &entry, drop_finalizer).await {
            tracing::warn!(definition = %key.name, %error, "a deleted definition could not be ended");
        }
    }
}
