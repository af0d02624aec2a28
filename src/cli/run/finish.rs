//! The end of a run: every service deleted, every instance drained and gone. A second signal kills what is left at once.
use std::{collections::HashSet, fmt::Debug, time::Duration};

use futures::{Stream, StreamExt, future, pin_mut, stream::select};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;

use crate::{exit::Result, manifest::Document, printer::Printer, signals::Signals, target::Connection};
use mesh_api::{MeshInstance, MeshService, MeshTask};
use mesh_backend::Backend;
use mesh_plan::instance::{Action, InstanceKey, Observed};

/// How long killed processes may take to be gone.
const KILLED: Duration = Duration::from_secs(5);
/// How long programs may take to end where no controller is left to look after them.
const UNATTENDED: Duration = Duration::from_secs(10);

/// Ends services that an earlier run has left here and this one does not have.
pub(super) async fn end_others(connection: &Connection, documents: &[Document], printer: &Printer) -> Result {
    let tasks = end_others_of::<MeshTask>(connection, documents).await?;
    for name in tasks.into_iter().chain(end_others_of::<MeshService>(connection, documents).await?) {
        printer.say(format!("{name}, which an earlier run has left, is ended")).await;
    }
    Ok(())
}

async fn end_others_of<K: Started>(connection: &Connection, documents: &[Document]) -> Result<Vec<String>> {
    let ours = |object: &K| {
        documents.iter().filter(|document| document.gvk.kind == K::kind(&())).any(|document| {
            let namespace = document.object.metadata.namespace.as_ref().unwrap_or(&connection.namespace);
            document.name() == object.name_any() && Some(namespace) == object.meta().namespace.as_ref()
        })
    };
    let objects = all::<K>(connection).list(&ListParams::default()).await?;
    let others: Vec<K> = objects.into_iter().filter(|object| !ours(object)).collect();
    delete(connection, &others).await
}

/// Ends everything. Says what it waits for; returns when nothing runs any more, and whether every instance was drained.
pub(super) async fn finish(connection: &Connection, backend: &Backend, attended: bool, printer: &Printer, signals: &mut Signals) -> bool {
    let (act, grace) = if attended {
        tokio::select! {
            drained = drain(connection, printer) => match drained {
                Ok(()) => return true,
                Err(failure) => (format!("cannot end the services by the API: {}; ending their processes", failure.text()), UNATTENDED),
            },
            _ = signals.next() => ("killing what is left".to_owned(), Duration::ZERO),
        }
    } else {
        ("ending all instances".to_owned(), UNATTENDED)
    };
    printer.say(act).await;
    stop(connection, backend, grace, grace + KILLED).await;
    false
}

/// Deletes all services, and waits until they and their instances are gone.
async fn drain(connection: &Connection, printer: &Printer) -> Result {
    let instances = all::<MeshInstance>(connection);
    let services = all::<MeshService>(connection);
    let changes = select(changes(&services), changes(&instances));
    pin_mut!(changes);
    delete_all(connection).await?;
    let mut said = None;
    loop {
        let left = instances.list(&ListParams::default()).await?.items;
        if left.is_empty() && services.list(&ListParams::default()).await?.items.is_empty() {
            return Ok(());
        }
        if said.replace(left.len()) != Some(left.len()) && !left.is_empty() {
            let names: HashSet<&str> = left.iter().map(|instance| instance.spec.service.as_str()).collect();
            let mut names: Vec<&str> = names.into_iter().collect();
            names.sort_unstable();
            let (count, plural) = (left.len(), if left.len() == 1 { "" } else { "s" });
            printer.say(format!("waiting for {count} instance{plural} of {} to end; Ctrl-C kills them at once", names.join(", "))).await;
        }
        changes.next().await;
    }
}

/// What people have instances started by.
trait Started: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static {}
impl Started for MeshService {}
impl Started for MeshTask {}
impl Started for MeshInstance {}

fn all<K: Started>(connection: &Connection) -> Api<K> {
    Api::all(connection.client.clone())
}

/// Says that something has changed, and no more.
fn changes<K: Started>(api: &Api<K>) -> impl Stream<Item = ()> + Send + use<K> {
    watcher(api.clone(), watcher::Config::default()).default_backoff().map(drop)
}

/// Deletes what would have instances started, tasks first: one of them may be about to run.
async fn delete_all(connection: &Connection) -> Result {
    delete(connection, &all::<MeshTask>(connection).list(&ListParams::default()).await?.items).await?;
    delete(connection, &all::<MeshService>(connection).list(&ListParams::default()).await?.items).await?;
    Ok(())
}

async fn delete<K: Started>(connection: &Connection, objects: &[K]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for object in objects {
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        let api: Api<K> = Api::namespaced(connection.client.clone(), &namespace);
        match api.delete(&name, &DeleteParams::background()).await {
            Ok(_) => names.push(name),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(names)
}

/// Ends the processes past the controllers, which must not start them again; what cannot be ended is logged, and the next run finds it.
async fn stop(connection: &Connection, backend: &Backend, grace: Duration, limit: Duration) {
    if let Err(failure) = disown(connection).await {
        tracing::warn!(error = failure.text(), "the objects cannot be deleted; the next run does it");
    }
    let all = async {
        // A start may have been under way.
        while !stop_round(backend, grace).await {}
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::error!("some instances have not ended; the next run takes them up");
    }
}

/// Marks everything as deleted: what is marked is not started any more.
async fn disown(connection: &Connection) -> Result {
    delete_all(connection).await?;
    delete(connection, &all::<MeshInstance>(connection).list(&ListParams::default()).await?.items).await.map(drop)
}

/// Stops all that runs, and waits for it. True if nothing ran.
async fn stop_round(backend: &Backend, grace: Duration) -> bool {
    let keys = backend.list().await.unwrap_or_else(|error| {
        tracing::error!(%error, "the instances cannot be listed");
        Vec::new()
    });
    let ends = keys.into_iter().map(|key| end(backend, key, grace));
    future::join_all(ends).await.into_iter().all(|ran| !ran)
}

/// Ends one, and waits until it has; whether it ran.
async fn end(backend: &Backend, key: InstanceKey, grace: Duration) -> bool {
    let mut changes = backend.changes();
    let mut ran = false;
    while let Ok(Observed::Running(_)) = backend.observe(&key).await {
        if !ran && let Err(error) = backend.execute(Action::Stop { key: key.clone(), grace }).await {
            tracing::error!(instance = %key, %error, "cannot be ended");
            return false;
        }
        ran = true;
        // Looked at again on every change, and now and then in case one was missed.
        let _ = tokio::time::timeout(Duration::from_millis(200), changes.next()).await;
    }
    ran
}
