//! The time that the shim counts its waits in: a clock that nobody sets, and durations as `poll` takes them.
use std::time::{Duration, Instant};

use rustix::event::Timespec;

#[expect(clippy::disallowed_methods, reason = "the shim has no runtime whose time could be paused")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    // One that does not fit is longer than any machine runs.
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}
