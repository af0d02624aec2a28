//! Reloads of systemd: never two at once (two corrupted units), and one for all who asked meanwhile.
use std::sync::atomic::{AtomicU64, Ordering};

use super::bus::Bus;
use crate::Error;

/// Counts what was asked for and what was done.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    asked: AtomicU64,
    done: AtomicU64,
    one: tokio::sync::Mutex<()>,
}

impl Reloads {
    /// Whether systemd was never told to reload by this process: files may have changed before it.
    pub(super) fn is_first(&self) -> bool {
        self.done.load(Ordering::Acquire) == 0
    }

    /// Whether a reload of ours is under way; who asked for it looks by itself.
    pub(super) fn is_busy(&self) -> bool {
        self.one.try_lock().is_err()
    }

    /// Returns after a reload that began after this call.
    pub(super) async fn reload(&self, bus: &Bus) -> Result<(), Error> {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let _one = self.one.lock().await;
        if self.done.load(Ordering::Acquire) >= mine {
            return Ok(());
        }
        let covered = self.asked.load(Ordering::Acquire);
        bus.reload().await?;
        self.done.store(covered, Ordering::Release);
        Ok(())
    }
}
