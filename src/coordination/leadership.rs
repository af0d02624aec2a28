//! The handle that says whether this process leads: until when it may write, and a value to wait on.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use mesh_kit::clock::{BootClock, BootTime};

/// Never led, or no longer.
const NEVER: u64 = 0;
/// Leads without an election.
const ALWAYS: u64 = u64::MAX;

/// Whether this process leads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leadership(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Until when this process may write, in nanoseconds after the boot.
    until: AtomicU64,
    clock: BootClock,
    leading: watch::Sender<bool>,
}

impl Leadership {
    /// That of a process that has not been elected yet.
    pub(super) fn none(clock: BootClock) -> Self {
        Self(Arc::new(Shared { until: AtomicU64::new(NEVER), clock, leading: watch::Sender::new(false) }))
    }

    /// That of the only controller there is: no election.
    pub fn always() -> Self {
        Self(Arc::new(Shared { until: AtomicU64::new(ALWAYS), clock: BootClock::system(), leading: watch::Sender::new(true) }))
    }

    /// True while this process leads. It may lag behind: what may be written, [`Self::may_write`] says.
    pub fn leading(&self) -> watch::Receiver<bool> {
        self.0.leading.subscribe()
    }

    /// Whether a write may be sent now: the Lease was renewed, by this machine's clock, less than the deadline for renewals ago.
    pub fn may_write(&self) -> bool {
        self.0.clock.now() < self.until()
    }

    /// Until when writes may be sent.
    pub(super) fn until(&self) -> BootTime {
        BootTime::after_boot(Duration::from_nanos(self.0.until.load(Ordering::Acquire)))
    }

    /// The Lease is this process's, until then.
    pub(super) fn extend(&self, until: BootTime) {
        let nanos = u64::try_from(until.since_boot().as_nanos()).unwrap_or(ALWAYS);
        self.0.until.store(nanos, Ordering::Release);
        if self.0.leading.send_if_modified(|leading| !std::mem::replace(leading, true)) {
            tracing::info!("this process leads");
        }
    }

    /// The Lease is another's, or nobody's. From now on nothing is written.
    pub(super) fn end(&self, why: &str) {
        self.0.until.store(NEVER, Ordering::Release);
        if self.0.leading.send_if_modified(|leading| std::mem::replace(leading, false)) {
            tracing::info!(why, "this process leads no longer; it writes nothing from now on");
        }
    }
}
