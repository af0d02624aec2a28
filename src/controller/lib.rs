//! One driver per kind and its steps. Each reads as a sentence, decides nothing that `plan` can decide, and is level-based:
//! it never looks at which event woke it. Called by the wiring, over any `kube::Client`.
mod absences;
pub mod bootstrap;
mod children;
pub mod cluster_service;
pub mod cluster_task;
pub mod endpoints;
pub mod mesh_instance;
pub mod mesh_service;
pub mod mesh_task;
pub mod node;
mod notes;
mod placement;
mod reconciles;
pub mod system;
mod writes;

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{Future, Stream, StreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{
        Controller, WatchStreamExt,
        controller::{self, Action},
        reflector::{self, ObjectRef, Store},
        watcher::{self, watcher},
    },
};

pub use self::reconciles::Reconciles;
use mesh_api::{MeshInstance, labels};
use mesh_kit::status::said;

/// Why a reconcile ended early. All of these are retried: with what is wrong in a spec, the object's status deals.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused or did not answer.
    #[error("{act}: {}", words(.error))]
    Api {
        /// What was being done.
        act: &'static str,
        /// What the API said.
        error: Box<kube::Error>,
    },
    /// The backend refused, where its answer is not the instance's own trouble.
    #[error("{act}: {source}")]
    Backend {
        /// What was being done.
        act: &'static str,
        /// What the backend said.
        source: mesh_backend::Error,
    },
}

impl Error {
    /// Whether an API answered, and takes no writes now.
    pub fn is_unavailable(&self) -> bool {
        self.is_status(503)
    }

    fn is_status(&self, code: u16) -> bool {
        matches!(self, Self::Api { error, .. } if matches!(&**error, kube::Error::Api(status) if status.code == code))
    }
}

fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => said(status),
        error => error.to_string(),
    }
}

/// Puts what was being done before an API error.
fn api(act: &'static str) -> impl FnOnce(kube::Error) -> Error {
    move |error| Error::Api { act, error: Box::new(error) }
}

/// After an error: soon again; the API's own trouble is not made worse by a storm, because each object waits by itself.
fn error_policy<K: Debug, C>(_: Arc<K>, error: &Error, _: Arc<C>) -> Action {
    let conflict = error.is_status(409);
    // An engine that is away and an API that takes no writes are told of once, by the node and by the store; not by each object.
    let away = matches!(error, Error::Backend { source: mesh_backend::Error::EngineUnreachable { .. }, .. }) || error.is_unavailable();
    if away {
        tracing::debug!(%error, "reconcile failed; it is tried again");
    } else if !conflict {
        tracing::warn!(%error, "reconcile failed; it is tried again");
    }
    Action::requeue(if conflict { Duration::from_millis(50) } else { Duration::from_secs(1) })
}

type Outcome<K> = Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>;

/// Selects the slices that the endpoints controller writes.
fn our_slices() -> String {
    format!("{}={}", labels::SLICE_MANAGED_BY, labels::SLICE_MANAGER)
}

/// Those of a store's objects that a change concerns.
fn concerned<K>(store: &Store<K>, is_concerned: impl Fn(&K) -> bool) -> Vec<ObjectRef<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.state().iter().filter(|object| is_concerned(object)).map(|object| ObjectRef::from_obj(&**object)).collect()
}

/// A controller of instances. Who wrote which field is nothing to it, and would be half of what it keeps in memory.
fn of_instances(instances: Api<MeshInstance>, which: watcher::Config) -> Controller<MeshInstance> {
    of_instances_seen(instances, which, |_| {})
}

/// The same; `see` is shown every event of the watch first.
fn of_instances_seen(
    instances: Api<MeshInstance>,
    which: watcher::Config,
    see: impl FnMut(&watcher::Result<watcher::Event<MeshInstance>>) + Send + 'static,
) -> Controller<MeshInstance> {
    let (known, writer) = reflector::store();
    let stream = watcher(instances, which).default_backoff().modify(|instance| instance.managed_fields_mut().clear()).inspect(see);
    Controller::for_stream(stream.reflect(writer).applied_objects(), known)
}

/// Runs a controller's stream to its end, and beside it the writing of its notes; the errors of reconciles have been told by [`error_policy`] already.
async fn drive<K: Resource<DynamicType = ()> + Debug + 'static>(
    name: &'static str,
    outcomes: impl Stream<Item = Outcome<K>>,
    notes: impl Future<Output = ()>,
    reconciles: &Reconciles,
) -> Result<(), Error> {
    let reconciles = outcomes.for_each(|outcome| async move {
        match outcome {
            Ok(_) => reconciles.count(name, true),
            Err(controller::Error::ReconcilerFailed(..)) => reconciles.count(name, false),
            Err(controller::Error::QueueError(error)) => {
                tracing::warn!(controller = name, %error, "a watch was interrupted; it is opened again");
            }
            Err(controller::Error::RunnerError(error)) => tracing::error!(controller = name, %error, "the controller's runner failed"),
            Err(controller::Error::ObjectNotFound(_)) => {}
        }
    });
    tokio::select! {
        () = reconciles => {}
        () = async { notes.await; std::future::pending().await } => {}
    }
    Ok(())
}
