//! Events on objects, for `kubectl describe` and `kubectl events`. Losing one is no fault of the work it tells about.
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

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

/// Writes notes as Events.
#[derive(Clone)]
pub(super) struct Notes(Recorder);

impl Notes {
    /// For the controller of that name.
    pub(super) fn new(client: Client, controller: &str, node: &str) -> Self {
        Self(Recorder::new(client, Reporter { controller: format!("mesh-controller/{controller}"), instance: Some(node.to_owned()) }))
    }

    /// Writes one.
    pub(super) async fn publish(&self, object: &impl Resource<DynamicType = ()>, note: Note) {
        tracing::info!(reason = note.reason, object = object.meta().name, "{}", note.message);
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
        if let Err(error) = self.0.publish(&event, &object.object_ref(&())).await {
            tracing::debug!(%error, "an event could not be written");
        }
    }
}
