//! One instance as the router sees it: where it is, in which condition, and the live state that all workers share.
//! The live state outlives route tables: it holds the count of what is under way, by which an instance is drained without a race.
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::affinity::Token;

/// Set when nothing may begin any more; never cleared.
const CLOSED: u64 = 1 << 63;
/// Set when the instance is ending, so that the end of its last request is told.
const DRAINING: u64 = 1 << 62;
const COUNT: u64 = DRAINING - 1;

/// How long an endpoint is avoided after its first failed connection, and at most.
const EJECT_FIRST: Duration = Duration::from_secs(1);
const EJECT_MOST: Duration = Duration::from_secs(30);

/// Who an endpoint is: the same through restarts of its program, another after the instance was replaced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceRef {
    /// Namespace of the `MeshInstance` (or Pod).
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// It is a `MeshInstance`, so its drain is acknowledged in its status.
    pub acknowledged: bool,
}

/// Whether an endpoint gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// It gets new requests and sessions.
    Ready,
    /// It is ending and still serves: sessions stay until their deadline.
    Terminating,
    /// It is ending and does not serve any more.
    Ended,
    /// It is not ready and not ending.
    Unready,
    /// It was called unready because the cluster lost its node; it may well serve, and does where nothing else is left.
    Stranded,
}

impl Condition {
    /// Whether it is on its way out.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Terminating | Self::Ended)
    }
}

/// An endpoint of a service in one route table.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Who it is.
    pub instance: InstanceRef,
    /// Where it answers.
    pub address: SocketAddr,
    /// Whether it gets requests.
    pub condition: Condition,
    /// Its name in affinity cookies.
    pub token: Token,
    /// The resourceVersion of the slice that says so.
    pub slice_revision: String,
    /// Shared with every other table that has it, and all workers.
    pub live: Arc<Live>,
}

/// The state of an endpoint that all workers share.
#[derive(Debug)]
pub struct Live {
    /// Of this process: names the endpoint's connections in the pools.
    pub id: u64,
    word: AtomicU64,
    ejected_until: AtomicU64,
    failures: AtomicU32,
    pinned: AtomicBool,
    /// Cancelled at the drain deadline: upgraded connections end.
    pub cut: CancellationToken,
    /// Cancelled once it is ending, all it had has ended, and nothing will begin: this router has let it go.
    pub let_go: CancellationToken,
    quiet: Arc<Notify>,
}

impl Live {
    /// A new endpoint; `quiet` is told when a draining one has nothing under way.
    pub fn new(id: u64, quiet: Arc<Notify>) -> Self {
        Self {
            id,
            word: AtomicU64::new(0),
            ejected_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            pinned: AtomicBool::new(false),
            cut: CancellationToken::new(),
            let_go: CancellationToken::new(),
            quiet,
        }
    }

    /// Begins a request: none if the endpoint is closed. Counting and looking are one step, so that nothing can begin after [`Live::close_if_idle`] said yes.
    pub fn begin(self: &Arc<Self>) -> Option<InFlight> {
        if self.word.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
            return Some(InFlight(self.clone()));
        }
        self.end();
        None
    }

    fn end(&self) {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        if before & DRAINING != 0 && before & COUNT == 1 {
            self.quiet.notify_one();
        }
    }

    /// What is under way.
    pub fn in_flight(&self) -> u64 {
        self.word.load(Ordering::Acquire) & COUNT
    }

    /// From now on the end of the last request is told.
    pub fn drain(&self) {
        self.word.fetch_or(DRAINING, Ordering::AcqRel);
    }

    /// Whether it is ending.
    pub fn is_draining(&self) -> bool {
        self.word.load(Ordering::Acquire) & DRAINING != 0
    }

    /// Takes back a drain that turned out to be none (a slice that was corrected); no effect once closed.
    pub fn undrain(&self) {
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| (word & CLOSED == 0).then_some(word & !DRAINING));
    }

    /// Closes the endpoint for good if nothing is under way; says whether it is closed.
    pub fn close_if_idle(&self) -> bool {
        self.word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| (word & COUNT == 0).then_some(word | CLOSED))
            .map_or_else(|word| word & CLOSED != 0 && word & COUNT == 0, |_| true)
    }

    /// Closes the endpoint for good: what is under way goes on, nothing new begins.
    pub fn close(&self) {
        self.word.fetch_or(CLOSED | DRAINING, Ordering::AcqRel);
    }

    /// Whether nothing may begin any more.
    pub fn is_closed(&self) -> bool {
        self.word.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Notes that a session was tied to it or came back to it.
    pub fn pin(&self) {
        if !self.pinned.load(Ordering::Relaxed) {
            self.pinned.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a session may come back to it.
    pub fn is_pinned(&self) -> bool {
        self.pinned.load(Ordering::Relaxed)
    }

    /// A connection could not be made: avoided for a time that doubles with each failure in a row. `now` is milliseconds of the router's own clock.
    pub fn connect_failed(&self, now: u64) {
        let doublings = self.failures.fetch_add(1, Ordering::Relaxed).min(5);
        let wait = EJECT_FIRST.saturating_mul(1 << doublings).min(EJECT_MOST);
        self.ejected_until.store(now + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A connection was made.
    pub fn connected(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it is avoided now.
    pub fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }
}

/// One request or upgraded connection under way; ends when dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Live>);

impl InFlight {
    /// The endpoint it is at.
    pub fn live(&self) -> &Arc<Live> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Arc<Live> {
        Arc::new(Live::new(1, Arc::new(Notify::new())))
    }

    #[test]
    fn nothing_begins_after_the_close() {
        let live = live();
        let one = live.begin().unwrap();
        assert!(!live.close_if_idle(), "one is under way");
        assert!(live.begin().is_some(), "an attempt to close changes nothing");
        drop(one);
        assert!(live.close_if_idle());
        assert!(live.begin().is_none());
        assert_eq!(live.in_flight(), 0);
        assert!(live.close_if_idle(), "closed stays closed");
    }

    #[test]
    fn no_request_can_begin_once_an_idle_endpoint_was_closed_under_contention() {
        for _ in 0..200 {
            let live = live();
            live.drain();
            let closed = Arc::new(AtomicBool::new(false));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    let (live, closed) = (live.clone(), closed.clone());
                    scope.spawn(move || {
                        for _ in 0..200 {
                            let already = closed.load(Ordering::SeqCst);
                            let begun = live.begin();
                            assert!(!(already && begun.is_some()), "began after drained was reported");
                            if begun.is_some() {
                                assert!(!closed.load(Ordering::SeqCst), "reported as drained while a request is under way");
                            }
                        }
                    });
                }
                let (live, closed) = (live.clone(), closed.clone());
                scope.spawn(move || {
                    while !live.close_if_idle() {
                        std::hint::spin_loop();
                    }
                    closed.store(true, Ordering::SeqCst);
                });
            });
        }
    }

    #[test]
    fn the_last_end_of_a_draining_endpoint_is_told() {
        let quiet = Arc::new(Notify::new());
        let live = Arc::new(Live::new(1, quiet.clone()));
        drop(live.begin());
        let mut told = tokio_test_poll(&quiet);
        assert!(!told, "not draining");
        live.drain();
        let (one, two) = (live.begin(), live.begin());
        drop(one);
        told |= tokio_test_poll(&quiet);
        assert!(!told);
        drop(two);
        assert!(tokio_test_poll(&quiet));
    }

    fn tokio_test_poll(quiet: &Notify) -> bool {
        futures::FutureExt::now_or_never(quiet.notified()).is_some()
    }

    #[test]
    fn ejection_doubles_up_to_a_limit_and_ends_with_a_connection() {
        let live = live();
        for (failure, until) in [(0_u64, 1000), (1, 2000), (2, 4000), (3, 8000), (4, 16000), (5, 30000), (6, 30000)] {
            live.connect_failed(0);
            assert!(live.is_ejected(until - 1), "failure {failure}");
            assert!(!live.is_ejected(until), "failure {failure}");
        }
        live.connected();
        assert!(!live.is_ejected(0));
    }
}
