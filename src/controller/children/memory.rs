//! What is remembered of an owner's objects between reconciles, so that none is written without need: what the API server made of them, who fights over them,
//! and what was refused. Lost with the process, which costs one look at each object and no write. Pure: the time comes in.
use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::drift::Difference;
use mesh_kit::backoff::Backoff;
use mesh_plan::validate::Refusal;

/// Between two times that an object which is changed again and again is put right.
const HEALING: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(300) };
/// After this without a need to put it right, the fight is over.
const QUIET: Duration = Duration::from_secs(600);
/// How often an object is put right before it is called contested.
const CONTESTED: u32 = 3;
/// What is refused is asked for again.
const REFUSED: Backoff = Backoff { base: Duration::from_secs(30), max: Duration::from_secs(600) };
/// How long a write is waited for in the cache.
const IN_CACHE: Duration = Duration::from_secs(10);

/// Of an owner.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Of its objects, by kind and name.
    pub(super) children: BTreeMap<String, Child>,
}

/// Of one object.
#[derive(Debug, Default)]
pub(super) struct Child {
    /// The hash of what this process wrote last, or found to be there.
    pub(super) settled: Option<String>,
    /// What the API server, or something in it, made of fields of that.
    accepted: Vec<(String, Value)>,
    heals: u32,
    healed: Option<Instant>,
    /// Who changes which field, once that has happened too often.
    pub(super) contest: Option<String>,
    written: Option<(Option<String>, Instant)>,
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    hash: String,
    times: u32,
    until: Instant,
    refusal: Refusal,
}

impl Child {
    /// The differences that are not the API server's own way to write what was applied.
    pub(super) fn unexplained(&self, differences: Vec<Difference>) -> Vec<Difference> {
        let known = |found: &Difference| self.accepted.iter().any(|(path, live)| *path == found.path.to_string() && *live == found.live);
        differences.into_iter().filter(|found| !known(found)).collect()
    }

    /// This was written, on top of that version; what came back differs so.
    pub(super) fn wrote(&mut self, hash: &str, over: Option<String>, differences: Vec<Difference>, is_new: bool, now: Instant) {
        self.settled = Some(hash.to_owned());
        self.accepted = differences.into_iter().map(|found| (found.path.to_string(), found.live)).collect();
        self.written = is_new.then_some((over, now));
        self.refused = None;
    }

    /// How long the cache may still hold what there was before the last write.
    pub(super) fn is_behind(&mut self, cached: Option<&str>, now: Instant) -> Option<Duration> {
        let (over, at) = self.written.as_ref()?;
        let left = IN_CACHE.saturating_sub(now.duration_since(*at));
        if over.as_deref() != cached || left.is_zero() {
            self.written = None;
            return None;
        }
        Some(left)
    }

    /// How long to wait before the object may be put right.
    pub(super) fn healing_waits(&self, now: Instant) -> Option<Duration> {
        let allowed = self.healed? + HEALING.delay(self.heals + 1, 0.0);
        allowed.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// It is put right once more; whether that is too often.
    pub(super) fn heals(&mut self, now: Instant) -> bool {
        (self.heals, self.healed) = (self.heals.saturating_add(1), Some(now));
        self.heals >= CONTESTED
    }

    /// Forgets a fight that has ended; how long until then, if there is one.
    pub(super) fn quieten(&mut self, now: Instant) -> Option<Duration> {
        let left = QUIET.saturating_sub(now.duration_since(self.healed?));
        if left.is_zero() {
            (self.heals, self.healed, self.contest) = (0, None, None);
        }
        Some(left).filter(|left| !left.is_zero() && self.contest.is_some())
    }

    /// What was refused, while it is not to be asked for again.
    pub(super) fn refused(&self, hash: &str, now: Instant) -> Option<(Refusal, Duration)> {
        let refused = self.refused.as_ref().filter(|refused| refused.hash == hash)?;
        Some((refused.refusal.clone(), refused.until.checked_duration_since(now).filter(|left| !left.is_zero())?))
    }

    /// This was refused; when to ask again.
    pub(super) fn refuse(&mut self, hash: &str, refusal: Refusal, is_slower: bool, now: Instant) -> Duration {
        let before = self.refused.as_ref().filter(|refused| refused.hash == hash && is_slower).map_or(0, |refused| refused.times);
        let times = before.saturating_add(1);
        let wait = REFUSED.delay(times + 1, 0.0);
        self.refused = Some(Refused { hash: hash.to_owned(), times, until: now + wait, refusal });
        wait
    }

    /// What stood in the way has gone.
    pub(super) fn clear(&mut self) {
        self.refused = None;
    }
}

#[cfg(test)]
mod tests;
