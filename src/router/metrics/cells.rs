//! Where requests are counted: the cells of one service, and durations.
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::StatusCode;

/// Upper bounds of durations, in seconds.
const BOUNDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// What is counted of one service.
#[derive(Debug, Default)]
pub struct ServiceCells {
    pub(super) classes: [AtomicU64; 5],
    pub(super) durations: Histogram,
}

/// Counts of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len());
        if let Some(cell) = self.buckets.get(bucket) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a sum for statistics")]
    pub(super) fn read(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().copied().chain([f64::MAX]);
        let counts: Vec<_> = bounds.zip(self.buckets.iter().map(|cell| cell.load(Ordering::Relaxed))).collect();
        (self.micros.load(Ordering::Relaxed) as f64 / 1e6, counts.iter().map(|(_, count)| count).sum(), counts)
    }
}

impl ServiceCells {
    /// Counts a request that ended.
    pub fn ended(&self, status: StatusCode, duration: Duration) {
        if let Some(cell) = self.classes.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.durations.observe(duration);
    }
}
