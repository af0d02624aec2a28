//! What all parts of a running server share: the store, the registry of what is served, and the wiring's choices. Keeps the registry as new as the
//! stored definitions.
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    judges::Judges,
    metrics::ApiMetrics,
    options::Options,
    registry::{Behaviour, CRDS, Registry, Resource},
};
use mesh_store::{Store, Write, WriteError, Written};

/// The state of one server.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) options: Options,
    registry: watch::Sender<Arc<Registry>>,
    /// Held while the registry is built anew, so that an older one never replaces a newer.
    rebuilding: Mutex<()>,
    pub(crate) metrics: ApiMetrics,
    pub(crate) judges: Judges,
    /// Open watches end when this is cancelled.
    pub(crate) closing: CancellationToken,
}

impl State {
    /// The state of a server on a store: the built-in resources are served, and those of the definitions in the store.
    pub(crate) fn new(store: Store, options: Options) -> Self {
        let registry = Arc::new(Registry::build(None, &store.list(CRDS, None)));
        let metrics = ApiMetrics::new(options.metrics.as_ref());
        let (registry, rebuilding, closing) = (watch::Sender::new(registry), Mutex::default(), CancellationToken::new());
        Self { store, options, registry, rebuilding, metrics, judges: Judges::default(), closing }
    }

    /// The registry of the definitions as they are stored now: who sees a definition is served by it.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        let registry = Arc::clone(&self.registry.borrow());
        if registry.revision >= self.store.changed(CRDS) { registry } else { self.rebuild_registry() }
    }

    pub(crate) fn registry_changes(&self) -> watch::Receiver<Arc<Registry>> {
        self.registry.subscribe()
    }

    /// Writes to the store. After a definition the registry is built anew at once, so that open watches learn of it.
    pub(crate) async fn commit(&self, resource: &Resource, write: Write) -> Result<Written, WriteError> {
        let written = self.store.write(write).await?;
        if written.changed && resource.behaviour == Behaviour::Definition {
            self.rebuild_registry();
        }
        Ok(written)
    }

    fn rebuild_registry(&self) -> Arc<Registry> {
        let _one_at_a_time = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&self.registry.borrow());
        if before.revision >= self.store.changed(CRDS) {
            return before;
        }
        let registry = Arc::new(Registry::build(Some(&before), &self.store.list(CRDS, None)));
        self.registry.send_replace(Arc::clone(&registry));
        registry
    }
}
