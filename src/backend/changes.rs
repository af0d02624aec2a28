//! Who wants to know that an instance should be looked at again.
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use mesh_plan::instance::InstanceKey;

/// The subscribers. Unbounded: what is sent is a key per start or end of an instance, and one that reads no more is dropped when it goes.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Vec<mpsc::UnboundedSender<InstanceKey>>>);

impl Subscribers {
    /// A stream of its own for each caller.
    pub(crate) fn subscribe(&self) -> BoxStream<'static, InstanceKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        UnboundedReceiverStream::new(receiver).boxed()
    }

    /// Tells all of them.
    pub(crate) fn tell(&self, key: &InstanceKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|sender| sender.send(key.clone()).is_ok());
    }
}
