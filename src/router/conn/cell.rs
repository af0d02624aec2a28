//! What the IO, the requests and the sweeper know of one connection together: its times, whether it is to end, what its gate decided.
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use crate::gate::Reject;

/// A client that has connected and not asked yet, when the connection is to end, most likely is about to: it gets its answer if it asks within this.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long a client that takes nothing of what it is sent is waited for once its connection is to end: the instance was cut, or the router is.
const SEND_AT_END: Duration = Duration::from_secs(1);
/// How long a client that has ended its side is still answered while nothing can be sent to it: what it is sent says whether it is there.
const HALF_CLOSED: Duration = Duration::from_secs(10);
/// Bytes in a second, below which a client's connection does not last.
const RATE: u64 = 1024;

const NONE: u8 = 0;
const DECLINED: u8 = 1;
const MADE: u8 = 2;

/// What is known of one connection. Atomics only because hyper moves an upgraded connection as `Send`; one thread uses them.
#[derive(Debug)]
pub struct Cell {
    clock: Arc<AtomicU64>,
    /// For a head to come, from its first byte.
    head_limit: Option<Duration>,
    /// Milliseconds for which a client is waited for that takes nothing of what it is sent; what it takes earns it more, by [`RATE`].
    most_patience: u64,
    waker: OnceLock<Waker>,
    /// Milliseconds of the worker's clock at which the connection has waited long enough for its client; 0: it does not wait.
    waits_until: AtomicU64,
    waited: AtomicBool,
    /// The same for the response to the request under way.
    answer_until: AtomicU64,
    late: AtomicBool,
    /// When a client that does not take what it is sent has been waited for long enough; 0: it is not waited for.
    send_until: AtomicU64,
    stuck: AtomicBool,
    /// For how many milliseconds it may be waited for.
    patience: AtomicU64,
    /// Live id of the endpoint whose answer is being sent; 0: none.
    endpoint: AtomicU64,
    /// Since when it waits for its client.
    since: AtomicU64,
    /// Its place was given to another.
    evicted: AtomicBool,
    /// The connection is to end after what is under way.
    closing: AtomicBool,
    /// No request has come yet.
    fresh: AtomicBool,
    /// How many requests have been answered to their end.
    finished: AtomicU64,
    /// When a client that has ended its side, and waits for nothing else than an answer, counts as gone; 0: it has not ended it.
    gone_until: AtomicU64,
    gone: AtomicBool,
    /// The body of a request did not come as it must, or not to its end.
    body_broken: AtomicBool,
    refused: OnceLock<(u64, Reject)>,
    upgrade_at: AtomicU64,
    upgrade: AtomicU8,
}

impl Cell {
    /// A new connection, which waits for its first request. `clock` is the worker's, in milliseconds.
    pub fn new(clock: Arc<AtomicU64>, head_limit: Option<Duration>, send_limit: Option<Duration>) -> Self {
        let most_patience = send_limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let cell = Self {
            clock,
            head_limit,
            most_patience,
            waker: OnceLock::new(),
            waits_until: AtomicU64::new(0),
            waited: AtomicBool::new(false),
            answer_until: AtomicU64::new(0),
            late: AtomicBool::new(false),
            send_until: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            patience: AtomicU64::new(most_patience),
            endpoint: AtomicU64::new(0),
            since: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
            finished: AtomicU64::new(0),
            gone_until: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            body_broken: AtomicBool::new(false),
            refused: OnceLock::new(),
            upgrade_at: AtomicU64::new(0),
            upgrade: AtomicU8::new(NONE),
        };
        cell.wait(head_limit);
        cell
    }

    /// A head has begun.
    pub fn head_began(&self) {
        self.wait_no_longer(self.head_limit);
    }

    fn wait_no_longer(&self, limit: Option<Duration>) {
        let (at, new) = (self.waits_until.load(Relaxed), self.until(limit));
        if new != 0 && (at == 0 || new < at) {
            self.waits_until.store(new, Relaxed);
        }
    }

    fn until(&self, limit: Option<Duration>) -> u64 {
        limit.map_or(0, |limit| self.clock.load(Relaxed).saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)).max(1))
    }

    /// Whom to wake; the connection's one task.
    pub fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The connection waits for its client.
    pub fn wait(&self, limit: Option<Duration>) {
        self.since.store(self.clock.load(Relaxed).max(1), Relaxed);
        self.endpoint.store(0, Relaxed);
        self.waits_until.store(self.until(limit), Relaxed);
    }

    /// It does not wait any more.
    pub fn go_on(&self) {
        self.fresh.store(false, Relaxed);
        self.patience.store(self.most_patience, Relaxed);
        self.since.store(0, Relaxed);
        self.waits_until.store(0, Relaxed);
    }

    /// One more request has been answered to its end; then the client is waited for again.
    pub fn finish(&self, limit: Option<Duration>) {
        self.finished.fetch_add(1, Relaxed);
        self.wait(limit);
        if self.gone_until.load(Relaxed) != 0 {
            // Its side has ended, which hyper is to see now.
            self.wake();
        }
    }

    /// How many requests have been answered to their end.
    pub fn finished(&self) -> u64 {
        self.finished.load(Relaxed)
    }

    /// The client has ended its side of the stream. It may still wait for its answer, or be gone: the two cannot be told apart at once.
    pub fn half_closed(&self) {
        if self.gone_until.load(Relaxed) == 0 {
            self.gone_until.store(self.until(Some(HALF_CLOSED)), Relaxed);
        }
    }

    /// Whether such a client has been sent nothing for so long that it counts as gone.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// The body of the request under way is malformed, or was cut short.
    pub fn break_body(&self) {
        self.body_broken.store(true, Relaxed);
    }

    /// Whether it is: then it is the client that failed, and not the instance.
    pub fn is_body_broken(&self) -> bool {
        self.body_broken.load(Relaxed)
    }

    /// Whether it has been asked for nothing, or for nothing more: since when; none if it has work, or has given its place away already.
    pub fn idle_since(&self) -> Option<u64> {
        let is_idle = self.send_until.load(Relaxed) == 0 && !self.evicted.load(Relaxed);
        Some(self.since.load(Relaxed)).filter(|since| *since != 0 && is_idle)
    }

    /// Ends an idle connection, because another needs its place. A request that has come meanwhile is answered.
    pub fn evict(&self) {
        self.evicted.store(true, Relaxed);
        if self.is_fresh() {
            self.waited.store(true, Relaxed);
            self.wake();
        } else {
            self.close();
        }
    }

    /// The answer of an endpoint is being sent.
    pub fn answers(&self, endpoint: u64) {
        self.endpoint.store(endpoint, Relaxed);
    }

    /// The client does not take what it is sent.
    pub fn send_waits(&self) {
        if self.send_until.load(Relaxed) == 0 {
            let patience =
                Duration::from_millis(self.patience.load(Relaxed)).min(if self.is_closing() { SEND_AT_END } else { Duration::MAX });
            self.send_until.store(self.until(Some(patience)), Relaxed);
        }
    }

    /// It took so much, which earns it patience for the next time that it does not.
    pub fn sent(&self, bytes: usize) {
        if self.gone_until.load(Relaxed) != 0 {
            self.gone_until.store(self.until(Some(HALF_CLOSED)), Relaxed);
        }
        let until = self.send_until.load(Relaxed);
        let left = if until == 0 { self.patience.load(Relaxed) } else { until.saturating_sub(self.clock.load(Relaxed)) };
        let earned = (bytes as u64).saturating_mul(1000) / RATE;
        self.patience.store(left.saturating_add(earned).min(self.most_patience), Relaxed);
        if until != 0 {
            self.send_until.store(0, Relaxed);
        }
    }

    /// The endpoint whose answer a client does not take; none if it takes it.
    pub fn held_up(&self) -> Option<u64> {
        (self.send_until.load(Relaxed) != 0).then(|| self.endpoint.load(Relaxed)).filter(|endpoint| *endpoint != 0)
    }

    /// From now on a client that does not take what it is sent is waited for only a moment more.
    pub fn hurry(&self) {
        let (until, soon) = (self.send_until.load(Relaxed), self.until(Some(SEND_AT_END)));
        if until > soon {
            self.send_until.store(soon, Relaxed);
        }
    }

    /// Whether the client was waited for long enough to take what it is sent.
    pub fn is_stuck(&self) -> bool {
        self.stuck.load(Relaxed)
    }

    /// The response to the request under way is waited for.
    pub fn expect_answer(&self, limit: Option<Duration>) {
        self.late.store(false, Relaxed);
        self.answer_until.store(self.until(limit), Relaxed);
    }

    /// It came, or is not waited for.
    pub fn answered(&self) {
        self.answer_until.store(0, Relaxed);
    }

    /// Whether it did not come in time.
    pub fn is_late(&self) -> bool {
        self.late.load(Relaxed)
    }

    /// Wakes the connection if one of its times has come.
    pub fn sweep(&self, now: u64) {
        for (until, flag) in [
            (&self.waits_until, &self.waited),
            (&self.answer_until, &self.late),
            (&self.send_until, &self.stuck),
            (&self.gone_until, &self.gone),
        ] {
            let at = until.load(Relaxed);
            if at != 0 && at <= now {
                until.store(0, Relaxed);
                flag.store(true, Relaxed);
                self.wake();
            }
        }
    }

    /// Asks the connection to end after what is under way.
    pub fn close(&self) {
        if self.fresh.load(Relaxed) {
            self.wait_no_longer(Some(FIRST_REQUEST));
        }
        self.closing.store(true, Relaxed);
        self.hurry();
        self.wake();
    }

    /// Whether that was asked.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// Whether no request has come yet.
    pub fn is_fresh(&self) -> bool {
        self.fresh.load(Relaxed)
    }

    /// Whether it waits for its client, between requests: not for the first one.
    pub fn is_between(&self) -> bool {
        self.waits_until.load(Relaxed) != 0 && !self.is_fresh()
    }

    /// Whether it has waited long enough; true once for each time.
    pub fn has_waited(&self) -> bool {
        self.waited.swap(false, Relaxed)
    }

    /// The head of this number was refused; the first refusal stays, nothing is read after it.
    pub fn refuse(&self, number: u64, reject: Reject) {
        let _ = self.refused.set((number, reject));
    }

    /// The request of this number asks for an upgrade.
    pub fn ask_upgrade(&self, number: u64) {
        self.upgrade.store(NONE, Relaxed);
        self.upgrade_at.store(number, Relaxed);
    }

    /// What is known of it.
    pub fn upgrade(&self) -> Upgrade {
        match self.upgrade.load(Relaxed) {
            MADE => Upgrade::Made,
            DECLINED => Upgrade::Declined,
            _ => Upgrade::Undecided,
        }
    }

    /// Why the request of this number was refused by the gate, if it was.
    pub fn refusal(&self, number: u64) -> Option<Reject> {
        self.refused.get().filter(|(at, _)| *at == number).map(|(_, reject)| *reject)
    }

    /// Whether the request of this number may become an upgrade.
    pub fn may_upgrade(&self, number: u64) -> bool {
        self.upgrade_at.load(Relaxed) == number
    }

    /// Decides the upgrade that [`Cell::may_upgrade`] was true for.
    pub fn decide(&self, made: bool) {
        self.upgrade.store(if made { MADE } else { DECLINED }, Relaxed);
        self.wake();
    }
}

/// What is known of the upgrade that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// The instance has not answered yet.
    Undecided,
    /// It was not made: requests follow.
    Declined,
    /// It was made: it is not HTTP any more.
    Made,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_ended_its_side_counts_as_gone_once_nothing_was_sent_for_long() {
        let clock = Arc::new(AtomicU64::new(1000));
        let cell = Cell::new(clock.clone(), None, None);
        let gone_at = |now: u64| {
            clock.store(now, Relaxed);
            cell.sweep(now);
            cell.is_gone()
        };
        cell.go_on();
        assert!(!gone_at(1_000_000), "it has not ended it");
        cell.half_closed();
        assert!(!gone_at(1_009_000));
        cell.sent(1);
        cell.half_closed();
        assert!(!gone_at(1_018_000), "it was sent something, and would have said that it is not there");
        assert!(gone_at(1_019_000));
    }

    #[test]
    fn a_client_that_takes_less_than_the_least_rate_loses_its_place_and_one_that_takes_more_does_not() {
        // Bytes that are taken once in a second.
        let lasts = |bytes: usize| {
            let clock = Arc::new(AtomicU64::new(1000));
            let cell = Cell::new(clock.clone(), None, Some(Duration::from_secs(30)));
            cell.go_on();
            (1..600).find(|second| {
                cell.send_waits();
                clock.store(1000 + second * 1000, Relaxed);
                cell.sweep(clock.load(Relaxed));
                cell.sent(bytes);
                cell.is_stuck()
            })
        };
        assert_eq!([0, 1, 512].map(lasts), [Some(30), Some(30), Some(59)], "what it takes earns it patience, and too little");
        assert_eq!(lasts(2 * 1024), None);
    }
}
