//! What a router knows of its own trouble, for `/readyz` and `/metrics`: nothing of it is an instance's fault.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// For so long after file descriptors ran out the router does not call itself ready.
const RECOVERY: Duration = Duration::from_secs(5);
/// An API that is away is asked again within this; without a failure for so long it answers.
const ROW: Duration = Duration::from_secs(40);
/// A row of failures that is shorter is nothing to speak of: an API server was started anew.
const AWAY: Duration = Duration::from_secs(10);

/// The health of one router. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    /// Milliseconds after `begun`, and one, at which descriptors ran out last; 0: never.
    descriptors: AtomicU64,
    /// The same: when a row of failed watches began, and its last.
    row: AtomicU64,
    failed: AtomicU64,
    /// How often too few descriptors were left: a connection could not be taken, or made, or a start could not.
    lacked: AtomicU64,
    failures: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            descriptors: AtomicU64::new(0),
            row: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lacked: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }
}

impl Health {
    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn ago(&self, at: &AtomicU64) -> Option<Duration> {
        Some(at.load(Relaxed)).filter(|at| *at != 0).map(|at| Duration::from_millis(self.now().saturating_sub(at)))
    }

    /// Too few file descriptors were left; says whether that is news.
    pub fn lacks_descriptors(&self) -> bool {
        let news = self.ago(&self.0.descriptors).is_none_or(|ago| ago > RECOVERY);
        self.0.descriptors.store(self.now(), Relaxed);
        self.0.lacked.fetch_add(1, Relaxed);
        news
    }

    /// How often too few were left.
    pub fn lacked(&self) -> u64 {
        self.0.lacked.load(Relaxed)
    }

    /// A watch failed.
    pub fn watch_failed(&self) {
        let now = self.now();
        if self.ago(&self.0.failed).is_none_or(|ago| ago > ROW) {
            self.0.row.store(now, Relaxed);
        }
        self.0.failed.store(now, Relaxed);
        self.0.failures.fetch_add(1, Relaxed);
    }

    /// A watch brought something.
    pub fn watch_works(&self) {
        if self.0.failed.load(Relaxed) != 0 {
            self.0.failed.store(0, Relaxed);
        }
    }

    /// How often watches failed.
    pub fn watch_failures(&self) -> u64 {
        self.0.failures.load(Relaxed)
    }

    /// For how long the API has not answered, if it is away.
    pub fn stale(&self) -> Option<Duration> {
        self.ago(&self.0.failed).filter(|ago| *ago <= ROW)?;
        self.ago(&self.0.row).filter(|row| *row >= AWAY)
    }

    /// Why it is not ready though it knows where requests go.
    pub fn why_not(&self) -> Option<String> {
        let ago = self.ago(&self.0.descriptors).filter(|ago| *ago <= RECOVERY)?;
        let limit = mesh_kit::descriptors::limit();
        Some(format!(
            "too little was left for a connection or a start {} s ago (the limit of file descriptors is {limit}: LimitNOFILE= of the unit, or ulimit -Hn, raises it)",
            ago.as_secs()
        ))
    }

    /// What is to be known of it though it is ready: requests go on by what it knows.
    pub fn note(&self) -> Option<String> {
        let stale = self.stale()?;
        Some(format!("the API has not answered for {} s: requests go by what the router knew before", stale.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn descriptors_that_ran_out_make_it_unready_until_a_while_after_the_last_time() {
        let health = Health::default();
        assert_eq!(health.why_not(), None);
        assert!(health.lacks_descriptors());
        tokio::time::advance(RECOVERY).await;
        assert!(!health.lacks_descriptors(), "the same row");
        assert!(health.why_not().unwrap().starts_with("too little was left for a connection or a start 0 s ago"));
        tokio::time::advance(RECOVERY + Duration::from_millis(1)).await;
        assert_eq!((health.why_not(), health.lacked()), (None, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_that_is_away_is_a_note_once_it_is_for_a_while() {
        let health = Health::default();
        health.watch_failed();
        assert_eq!(health.note(), None, "once is nothing");
        tokio::time::advance(Duration::from_secs(15)).await;
        health.watch_failed();
        assert_eq!(health.note().as_deref(), Some("the API has not answered for 15 s: requests go by what the router knew before"));
        assert_eq!(health.why_not(), None, "it is ready all the same");
        health.watch_works();
        assert_eq!(health.note(), None);
        health.watch_failed();
        tokio::time::advance(ROW + Duration::from_secs(1)).await;
        assert_eq!(health.note(), None, "no failure for so long: it watches");
    }
}
