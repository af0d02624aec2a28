//! In whose hands a key is, and for how long.
use std::time::Duration;

use super::Loss;
use crate::session::Session;
use mesh_kit::clock::BootTime;

/// Before the end of an acquisition that was not renewed: then its holder is told, and renewals come too late.
pub fn notice(ttl: Duration) -> Duration {
    (ttl / 5).clamp(Duration::from_millis(200), Duration::from_secs(3))
}

/// In whose hands the key is, beyond what the record says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tenure {
    /// Nobody's, or another's: what counts is how long its record was seen unchanged.
    Other,
    /// A run's of this agent.
    Ours(Held),
    /// It was, and whoever had it knows; another may have it then.
    Over(BootTime),
}

impl Tenure {
    /// The acquisition with this fence was seen to be renewed, by this agent or by another of the same runs. One that lapsed here did so by mistake then.
    pub(super) fn renewed(&mut self, last: Option<(u64, Loss)>, fence: u64, now: BootTime) {
        match self {
            Self::Ours(held) => (held.asked, held.tried) = (now, false),
            Self::Over(_) if [Loss::NotRenewed, Loss::Unavailable].map(|loss| Some((fence, loss))).contains(&last) => *self = Self::Other,
            Self::Over(_) | Self::Other => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) session: Session,
    pub(super) fence: u64,
    pub(super) ttl: Duration,
    /// When the last write that came through was sent, or another agent's was seen.
    pub(super) asked: BootTime,
    /// A renewal was tried since then.
    pub(super) tried: bool,
}

impl Held {
    /// Until when nobody else gets it.
    pub(super) fn until(&self) -> BootTime {
        self.asked + self.ttl
    }

    /// When its holder is told that it has lost it.
    pub(super) fn notice(&self) -> BootTime {
        self.asked + self.ttl.saturating_sub(notice(self.ttl))
    }
}
