//! The store's metrics.
use std::time::Duration;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

use mesh_kit::metrics::Metrics;

#[derive(Debug)]
pub(super) struct StoreMetrics {
    revision: Gauge,
    writes: Counter,
    commit_seconds: Histogram,
    failed: Gauge,
    failures: Counter,
}

impl StoreMetrics {
    pub(super) fn new(metrics: Option<&Metrics>) -> Self {
        let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];
        let this = Self {
            revision: Gauge::default(),
            writes: Counter::default(),
            commit_seconds: Histogram::new(buckets),
            failed: Gauge::default(),
            failures: Counter::default(),
        };
        if let Some(metrics) = metrics {
            metrics.register(|registry| {
                registry.register("store_revision", "The latest revision", this.revision.clone());
                registry.register("store_writes", "Writes that changed something", this.writes.clone());
                registry.register(
                    "store_commit_seconds",
                    "Time of one commit (a batch of writes) with its sync",
                    this.commit_seconds.clone(),
                );
                registry.register("store_failed", "1 if the store refuses writes", this.failed.clone());
                registry.register("store_failures", "How often the store began to refuse writes", this.failures.clone());
            });
        }
        this
    }

    pub(super) fn committed(&self, writes: usize, revision: u64, took: Duration) {
        self.writes.inc_by(writes as u64);
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn failed(&self) {
        self.failed.set(1);
        self.failures.inc();
    }

    pub(super) fn recovered(&self) {
        self.failed.set(0);
    }
}
