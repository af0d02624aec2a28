//! Events on objects, for `kubectl describe` and `kubectl events`. Losing one is no fault of the work it tells about.
mod series;

use futures::Future;
use k8s_openapi::api::{core::v1::ObjectReference, events::v1::Event};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;

use self::series::{Reporter, Series, Write};
use mesh_kit::clock;

/// Something that happened to an object, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// CamelCase.
    pub(super) reason: &'static str,
    /// What happened.
    pub(super) message: String,
    /// It is a trouble.
    pub(super) warning: bool,
}

impl Note {
    /// Something that is as it should be.
    pub(super) fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), warning: false }
    }

    /// A trouble.
    pub(super) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), warning: true }
    }
}

/// The first of some names, and how many there are more.
pub(super) fn first_of(names: &[String], most: usize) -> String {
    let (shown, rest) = names.split_at(most.min(names.len()));
    let shown = shown.join(", ");
    if rest.is_empty() { shown } else { format!("{shown} and {} more", rest.len()) }
}

/// Notes that wait to be written; more are dropped.
const WAITING: usize = 1024;

/// Takes notes for one writer, so that no reconcile waits for an Event to be stored.
#[derive(Clone)]
pub(super) struct Notes(mpsc::Sender<(ObjectReference, Note)>);

impl Notes {
    /// For the controller of that name; the future writes the notes as Events for as long as it is polled.
    pub(super) fn new(client: Client, controller: &str, node: &str) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let controller = format!("mesh-controller/{controller}");
        let instance = if node.is_empty() { controller.clone() } else { node.to_owned() };
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), write(client, Series::new(Reporter { controller, instance }), receiver))
    }

    /// Takes one.
    pub(super) fn publish(&self, object: &impl Resource<DynamicType = ()>, note: Note) {
        if note.warning {
            tracing::warn!(reason = note.reason, object = object.meta().name, "{}", note.message);
        } else {
            tracing::info!(reason = note.reason, object = object.meta().name, "{}", note.message);
        }
        if self.0.try_send((object.object_ref(&()), note)).is_err() {
            tracing::debug!("too many events wait to be written; this one is dropped");
        }
    }
}

async fn write(client: Client, mut series: Series, mut notes: mpsc::Receiver<(ObjectReference, Note)>) {
    while let Some((object, note)) = notes.recv().await {
        // Events of what is in no namespace are in this one.
        let events: Api<Event> = Api::namespaced(client.clone(), object.namespace.as_deref().unwrap_or("default"));
        let written = match series.take(&object, &note, clock::now()) {
            Write::Create(event) => events.create(&PostParams::default(), &event).await,
            Write::Count(event) => events.patch(&event.name_any(), &PatchParams::default(), &Patch::Merge(&event)).await,
        };
        if let Err(error) = written {
            // It may be forgotten already: the next one is a new one.
            series.forget(&object, &note);
            tracing::debug!(%error, "an event could not be written");
        }
    }
}
