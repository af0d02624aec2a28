//! What is held and wanted, as metrics.
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use super::{Kind, Loss};
use mesh_kit::metrics::Metrics;

/// The metrics of locks and leaders.
#[derive(Debug, Clone, Default)]
pub struct LockMetrics {
    held: Family<OfKind, Gauge>,
    waiters: Gauge,
    acquired: Family<OfKind, Counter>,
    lost: Family<Reason, Counter>,
    busy: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl LockMetrics {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.register(|registry| {
            registry.register("locks_held", "Locks that are held, and groups that are led", this.held.clone());
            registry.register("lock_waiters", "Requests that wait for a lock or a lead at this agent", this.waiters.clone());
            registry.register("lock_acquisitions", "Locks and leads that this agent gave", this.acquired.clone());
            registry.register(
                "lock_busy",
                "Requests refused because too many waited for the key, or too many keys were in use",
                this.busy.clone(),
            );
            registry.register("lock_losses", "Acquisitions at this agent that are over, and why", this.lost.clone());
        });
        this
    }

    pub(super) fn waits(&self, before: usize, now: usize) {
        change(&self.waiters, before, now);
    }

    pub(super) fn holds(&self, kind: Kind, before: bool, now: bool) {
        change(&self.held.get_or_create_owned(&OfKind { kind: kind.as_str() }), usize::from(before), usize::from(now));
    }

    pub(super) fn acquired(&self, kind: Kind) {
        self.acquired.get_or_create_owned(&OfKind { kind: kind.as_str() }).inc();
    }

    pub(super) fn busy(&self) {
        self.busy.inc();
    }

    pub(super) fn lost(&self, loss: Loss) {
        self.lost.get_or_create_owned(&Reason { reason: loss.as_str() }).inc();
    }
}

fn change(gauge: &Gauge, before: usize, now: usize) {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    if before != now {
        gauge.inc_by(count(now) - count(before));
    }
}
