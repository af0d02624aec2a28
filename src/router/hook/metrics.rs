//! What is counted of hooks.
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
use tokio::time::Instant;

use mesh_kit::metrics::Metrics;

/// Upper bounds in seconds: drains take as long as requests do.
const BOUNDS: [f64; 11] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

type From = [(&'static str, &'static str); 1];

/// All of them.
#[derive(Debug)]
pub(super) struct HookMetrics {
    waiting: Gauge,
    answered: Family<From, Counter>,
    seconds: Histogram,
    /// Resources whose refusal was said.
    refused: Mutex<BTreeSet<&'static str>>,
}

/// A hook that waits; not any more when dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    metrics: &'a HookMetrics,
    from: From,
    begun: Instant,
}

impl HookMetrics {
    /// Registers everything; once per process.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let this =
            Self { waiting: Gauge::default(), answered: Family::default(), seconds: Histogram::new(BOUNDS), refused: Mutex::default() };
        metrics.register(|registry| {
            registry.register(
                "router_drain_hooks_waiting",
                "pods and routers that wait to be told that a pod was let go",
                this.waiting.clone(),
            );
            registry.register("router_drain_hooks_answered", "those that were told", this.answered.clone());
            registry.register("router_drain_hook_seconds", "how long they waited", this.seconds.clone());
        });
        this
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> i64 {
        self.waiting.get()
    }

    /// One more waits.
    pub(super) fn begin(&self, peer: bool) -> Waiting<'_> {
        self.waiting.inc();
        Waiting { metrics: self, from: [("from", if peer { "router" } else { "pod" })], begun: Instant::now() }
    }

    /// Whether this is the first time that the API refuses such a thing.
    pub(super) fn first_refusal(&self, resource: &'static str) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(resource)
    }
}

impl Waiting<'_> {
    /// It was told.
    pub(super) fn answered(self) {
        self.metrics.answered.get_or_create(&self.from).inc();
        self.metrics.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.metrics.waiting.dec();
    }
}
