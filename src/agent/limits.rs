//! What is hit where too much is asked for at once: counted, and told in the log once a minute.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::time::Instant;

use mesh_kit::metrics::Metrics;

/// Between two lines in the log.
const AGAIN: Duration = Duration::from_secs(60);

/// The metrics of the door. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub(crate) under_way: Gauge,
    refused: Counter,
    closed: Counter,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Limits {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.register(|registry| {
            registry.register("agent_requests", "Requests of instances that are under way at the agent", this.under_way.clone());
            registry.register(
                "agent_refused_requests",
                "Requests refused because too many of the instance were under way",
                this.refused.clone(),
            );
            registry.register("agent_closed_connections", "Idle connections to the agent that gave way to others", this.closed.clone());
        });
        this
    }

    /// A request is refused.
    pub(crate) fn refused(&self, instance: &str, why: &str) {
        self.refused.inc();
        if self.is_time() {
            tracing::warn!(instance, why, "agent: too much is asked for at once; told once a minute");
        }
    }

    /// A connection is closed to make place.
    pub(crate) fn closed(&self, most: usize) {
        self.closed.inc();
        if self.is_time() {
            tracing::warn!(most, "agent: no more connections are possible; those on which nothing is asked give way; told once a minute");
        }
    }

    fn is_time(&self) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = told.is_none_or(|told| now - told >= AGAIN);
        if is_time {
            *told = Some(now);
        }
        is_time
    }
}
