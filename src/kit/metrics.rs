//! The process's metrics: one registry, into which each part registers its own struct; rendered as OpenMetrics text.
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{encoding::text::encode, registry::Registry};

/// A registry that parts of the process share. Every name gets the prefix `mesh_`.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("mesh"))))
    }
}

impl Metrics {
    /// Lets a part register its metrics; called once per part, at start.
    pub fn register<T>(&self, with: impl FnOnce(&mut Registry) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything registered, in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; a failing collector would only shorten the text.
        if encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner)).is_err() {
            tracing::error!("a metric could not be encoded");
        }
        text
    }
}
