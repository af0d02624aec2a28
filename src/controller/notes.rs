//! Events on objects, for `kubectl describe` and `kubectl events`. Losing one is no fault of the work it tells about.
use futures::Future;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

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

/// Notes that wait to be written; more are dropped.
const WAITING: usize = 1024;

/// Takes notes for one writer, so that no reconcile waits for an Event to be stored.
#[derive(Clone)]
pub(super) struct Notes(mpsc::Sender<(ObjectReference, Note)>);

impl Notes {
    /// For the controller of that name; the future writes the notes as Events for as long as it is polled.
    pub(super) fn new(client: Client, controller: &str, node: &str) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let reporter =
            Reporter { controller: format!("mesh-controller/{controller}"), instance: (!node.is_empty()).then(|| node.to_owned()) };
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), write(Recorder::new(client, reporter), receiver))
    }

    /// Takes one.
    pub(super) fn publish(&self, object: &impl Resource<DynamicType = ()>, note: Note) {
        tracing::info!(reason = note.reason, object = object.meta().name, "{}", note.message);
        if self.0.try_send((object.object_ref(&()), note)).is_err() {
            tracing::debug!("too many events wait to be written; this one is dropped");
        }
    }
}

async fn write(recorder: Recorder, mut notes: mpsc::Receiver<(ObjectReference, Note)>) {
    while let Some((object, note)) = notes.recv().await {
        let mut message = note.message;
        // The API takes at most a kilobyte.
        message.truncate(message.floor_char_boundary(1024));
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.to_owned(),
            note: Some(message),
            action: note.reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &object).await {
            tracing::debug!(%error, "an event could not be written");
        }
    }
}
