//! A reader of the ring: a cursor and a wake-up, no queue of its own, so that a slow watcher costs nothing and can only fall out of the ring.
use std::sync::Arc;

use tokio::sync::watch;

use super::{error::Expired, ring::Event, shared::Shared};

/// How many events are handed out at once; keeps the read lock short.
const BATCH: usize = 128;

/// Follows the events after a revision.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    wake: watch::Receiver<u64>,
    cursor: u64,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, after: u64) -> Self {
        // Subscribed before the first look, so that no change falls between the two.
        let wake = shared.subscribe();
        Self { shared, wake, cursor: after }
    }

    /// The revision up to which everything has been handed out.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next events of a resource (`""`: of all), at least one. Waits for them. Cancel-safe.
    pub async fn next(&mut self, resource: &str) -> Result<Vec<Event>, Expired> {
        loop {
            // Marked as seen before the look: what comes after the look wakes again.
            self.wake.mark_unchanged();
            let (events, cursor) = self.shared.events(resource, self.cursor, BATCH)?;
            self.cursor = cursor;
            if !events.is_empty() {
                return Ok(events);
            }
            if self.wake.changed().await.is_err() {
                // The sender lives in `shared`, which this holds; so this cannot come.
                return std::future::pending().await;
            }
        }
    }
}
