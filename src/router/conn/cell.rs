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

const NONE: u8 = 0;
const DECLINED: u8 = 1;
const MADE: u8 = 2;

/// What is known of one connection. Atomics only because hyper moves an upgraded connection as `Send`; one thread uses them.
#[derive(Debug)]
pub struct Cell {
    clock: Arc<AtomicU64>,
    /// For a head to come, from its first byte.
    head_limit: Option<Duration>,
    waker: OnceLock<Waker>,
    /// Milliseconds of the worker's clock at which the connection has waited long enough for its client; 0: it does not wait.
    waits_until: AtomicU64,
    waited: AtomicBool,
    /// The same for the response to the request under way.
    answer_until: AtomicU64,
    late: AtomicBool,
    /// The connection is to end after what is under way.
    closing: AtomicBool,
    /// No request has come yet.
    fresh: AtomicBool,
    refused: OnceLock<(u64, Reject)>,
    upgrade_at: AtomicU64,
    upgrade: AtomicU8,
}

impl Cell {
    /// A new connection, which waits for its first request. `clock` is the worker's, in milliseconds.
    pub fn new(clock: Arc<AtomicU64>, head_limit: Option<Duration>) -> Self {
        let cell = Self {
            clock,
            head_limit,
            waker: OnceLock::new(),
            waits_until: AtomicU64::new(0),
            waited: AtomicBool::new(false),
            answer_until: AtomicU64::new(0),
            late: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
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
        self.waits_until.store(self.until(limit), Relaxed);
    }

    /// It does not wait any more.
    pub fn go_on(&self) {
        self.fresh.store(false, Relaxed);
        self.waits_until.store(0, Relaxed);
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
        for (until, flag) in [(&self.waits_until, &self.waited), (&self.answer_until, &self.late)] {
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
