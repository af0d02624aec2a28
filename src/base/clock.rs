//! Wall time, and the time since the machine's boot, read in this one place so that pure code gets them as values.
use std::{fmt, ops::Add, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The wall clock's time now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A moment by the clock that nobody sets, and that goes on while this process is stopped and while the machine sleeps (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// So long after the boot.
    pub const fn after_boot(since: Duration) -> Self {
        Self(since)
    }

    /// How long after the boot.
    pub const fn since_boot(self) -> Duration {
        self.0
    }

    /// How long after `earlier`; nothing if it was not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, more: Duration) -> Self {
        Self(self.0.saturating_add(more))
    }
}

/// Where a moment comes from: the system, or a test.
#[derive(Clone)]
pub struct BootClock(Arc<dyn Fn() -> BootTime + Send + Sync>);

impl BootClock {
    /// The system's.
    pub fn system() -> Self {
        Self::from_fn(|| {
            let time = clock_gettime(ClockId::Boottime);
            // Neither is ever negative: the clock starts at 0.
            let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
            BootTime(Duration::new(seconds, nanos))
        })
    }

    /// One that a test moves.
    pub fn from_fn(now: impl Fn() -> BootTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The moment.
    pub fn now(&self) -> BootTime {
        (self.0)()
    }
}

impl fmt::Debug for BootClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BootClock").field(&self.now()).finish()
    }
}
