//! Namespaces: those that are always there, what each is born with, and the task that empties a deleted one.
use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use crate::{
    object,
    registry::{Behaviour, NAMESPACES, Resource},
    rest::{self, Deletion},
    state::State,
    strategy::PERMANENT_NAMESPACES,
};
use mesh_kit::clock;
use mesh_store::{Change, Key, Write, WriteError};

/// Makes what is always there. Called once, before the first request.
pub(crate) async fn make_permanent_objects(server: &State) -> Result<(), WriteError> {
    for name in PERMANENT_NAMESPACES {
        let labels = json!({"kubernetes.io/metadata.name": name});
        let namespace =
            json!({"metadata": {"name": name, "labels": labels}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        make(server, Key::new(NAMESPACES, "", name), namespace).await?;
        furnish(server, name).await?;
    }
    let spec = json!({
        "clusterIP": "None", "clusterIPs": ["None"], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}], "sessionAffinity": "None", "type": "ClusterIP",
    });
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service =
        json!({"metadata": {"name": "kubernetes", "namespace": "default", "labels": labels}, "spec": spec, "status": {"loadBalancer": {}}});
    make(server, Key::new("services", "default", "kubernetes"), service).await
}

/// What every namespace is born with.
async fn furnish(server: &State, namespace: &str) -> Result<(), WriteError> {
    let account = json!({"metadata": {"name": "default", "namespace": namespace}});
    make(server, Key::new("serviceaccounts", namespace, "default"), account).await?;
    let data = json!({"ca.crt": server.options.ca_certificate});
    let map = json!({"metadata": {"name": "kube-root-ca.crt", "namespace": namespace}, "data": data});
    make(server, Key::new("configmaps", namespace, "kube-root-ca.crt"), map).await
}

/// Makes an object unless it is there.
async fn make(server: &State, key: Key, mut value: Value) -> Result<(), WriteError> {
    if server.store.get(&key).is_some() {
        return Ok(());
    }
    object::give_birth(&mut value, false, clock::now());
    match server.store.write(Write { key, change: Change::Create(value), guard: None }).await {
        Ok(_) | Err(WriteError::Exists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Watches everything, furnishes each new namespace, and brings each deleted one to its end: what is in it first. Ends only with the server.
pub(crate) async fn keep(server: Arc<State>) {
    loop {
        let mut watcher = server.store.watch(server.store.revision());
        for entry in server.store.list(NAMESPACES, None).entries {
            attend(&server, &entry.key.name).await;
        }
        // Out of the ring: look at everything again.
        while let Ok(events) = watcher.next("").await {
            let concerned = events.iter().filter_map(|event| {
                let key = &event.object.key;
                if *key.resource == *NAMESPACES { Some(Arc::clone(&key.name)) } else { event.deleted.then(|| Arc::clone(&key.namespace)) }
            });
            for name in concerned.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>() {
                attend(&server, &name).await;
            }
        }
    }
}

async fn attend(server: &State, name: &str) {
    let Some(entry) = server.store.get(&Key::new(NAMESPACES, "", name)) else { return };
    let result = if object::is_dying(&entry.value()) { empty(server, name).await } else { furnish(server, name).await };
    if let Err(error) = result {
        tracing::warn!(namespace = name, %error, "a namespace could not be kept in order");
    }
}

/// Deletes what is in a namespace; when nothing is left, lets the namespace go.
async fn empty(server: &State, name: &str) -> Result<(), WriteError> {
    // Custom objects first: who brings them to their end may still need the rest (instances that drain their EndpointSlices).
    let mut left = empty_of(server, name, Resource::is_custom).await;
    if left == 0 {
        left = empty_of(server, name, |resource| !resource.is_custom()).await;
    }
    let Some(entry) = server.store.get(&Key::new(NAMESPACES, "", name)) else { return Ok(()) };
    rest::alter(server, &entry, |namespace| report(namespace, left)).await.map(|_| ())
}

/// Deletes the objects of some resources in a namespace; how many are held.
async fn empty_of(server: &State, name: &str, chosen: impl Fn(&Resource) -> bool) -> usize {
    let registry = server.registry();
    let mut left = 0;
    for storage in server.store.resources() {
        let Some(resource) = registry.stored(&storage) else { continue };
        if !resource.namespaced || resource.behaviour == Behaviour::Empty || !chosen(resource) {
            continue;
        }
        for object in server.store.list(&storage, Some(name)).entries {
            // Not found is as good, and what is held comes back here when it is gone.
            let _ = rest::remove(server, resource, name, &object.key.name, &Deletion::default()).await;
        }
        left += server.store.list(&storage, Some(name)).entries.len();
    }
    left
}

/// Writes how far the deletion is; with nothing left the namespace's own finalizer goes.
fn report(namespace: &mut Value, left: usize) -> bool {
    if left == 0 {
        object::set_at(namespace, "/spec/finalizers", json!([]));
        return true;
    }
    let now = object::seconds(clock::now());
    let message = format!("Some content in the namespace has finalizers remaining: {left} objects");
    let condition = json!({"type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain", "message": message, "lastTransitionTime": now});
    if namespace.pointer("/status/conditions/0/message") == condition.get("message") {
        return false;
    }
    object::set_at(namespace, "/status/conditions", json!([condition]));
    true
}
