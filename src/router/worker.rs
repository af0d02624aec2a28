//! What the connections of one worker share: their cells, which the sweeper looks after, the pool, the coarse clock, and their places.
use std::{
    cell::{Cell as StdCell, RefCell},
    collections::{HashMap, HashSet},
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    conn::Cell,
    pool::{self, Pool},
    proxy::Proxy,
    settings::Limits,
};
use mesh_kit::descriptors;

/// Descriptors that the start of an instance takes at once, and a few more.
const AT_ONCE: usize = 12;
/// Idle connections that are ended at once when descriptors run out.
const LACKED: usize = 16;
/// Milliseconds after which one that is idle is at rest, and not between two requests of a client at work.
const RESTING: u64 = 1_000;

/// What a worker's tasks share. Never leaves its thread.
#[derive(Debug)]
pub struct Worker {
    /// What all workers share.
    pub proxy: Arc<Proxy>,
    /// Its connections to instances.
    pub pool: Pool,
    /// Its connections and tunnels, which it waits for at the end.
    pub tasks: TaskTracker,
    /// Cancelled when all is to end.
    pub stop: CancellationToken,
    clock: Arc<AtomicU64>,
    random: StdCell<u64>,
    next: StdCell<u64>,
    cells: RefCell<HashMap<u64, Arc<Cell>>>,
}

impl Worker {
    pub(super) fn new(proxy: Arc<Proxy>, stop: CancellationToken) -> Rc<Self> {
        let clock = Arc::new(AtomicU64::new(proxy.now()));
        Rc::new(Self {
            proxy,
            pool: Pool::default(),
            tasks: TaskTracker::new(),
            stop,
            clock,
            random: StdCell::new(rand::random::<u64>() | 1),
            next: StdCell::new(0),
            cells: RefCell::default(),
        })
    }

    /// The coarse clock, in milliseconds.
    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// A random number, good for spreading and nothing else (xorshift).
    pub fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// A new connection; its cell is looked after until it [`leave`](Self::leave)s.
    pub(super) fn enter(&self, limits: &Limits) -> (u64, Arc<Cell>) {
        let id = self.next.replace(self.next.get() + 1);
        let cell = Arc::new(Cell::new(self.clock.clone(), limits.header, limits.send));
        self.cells.borrow_mut().insert(id, cell.clone());
        (id, cell)
    }

    /// A connection has ended.
    pub(super) fn leave(&self, id: u64) {
        self.cells.borrow_mut().remove(&id);
    }

    /// Ends what took too long, and gives back what others want.
    pub(super) fn sweep(&self) {
        let now = self.proxy.now();
        let before = self.clock.swap(now, Ordering::Relaxed);
        self.cells.borrow().values().for_each(|cell| cell.sweep(now));
        self.pool.sweep(now, pool::KEPT);
        self.hurry();
        // What is at rest is given back for probes, starts and the API as well.
        if let Err(error) = descriptors::spare(AT_ONCE) {
            self.proxy.lacks_descriptors(&error);
            self.pool.sweep(now, RESTING);
            self.evict_resting(LACKED, now.saturating_sub(RESTING));
        }
        let wanted = self.proxy.wanted(before);
        if wanted > 0 {
            self.evict(wanted);
        }
    }

    /// Clients that do not take the answer of an instance that was cut are not waited for.
    fn hurry(&self) {
        let cells = self.cells.borrow();
        let mut held = cells.values().filter_map(|cell| Some((cell, cell.held_up()?))).peekable();
        if held.peek().is_none() {
            return;
        }
        let table = self.proxy.table();
        let endpoints =
            table.services.iter().flat_map(|service| &service.endpoints).chain(table.departed.iter().map(|gone| &gone.endpoint));
        let go_on: HashSet<u64> = endpoints.filter(|endpoint| !endpoint.live.cut.is_cancelled()).map(|endpoint| endpoint.live.id).collect();
        held.filter(|(_, endpoint)| !go_on.contains(endpoint)).for_each(|(cell, _)| cell.hurry());
    }

    /// Ends the connections that have been idle longest, so many at most; says how many.
    pub(super) fn evict(&self, most: usize) -> usize {
        self.evict_resting(most, u64::MAX)
    }

    /// The same, of those that were idle at `by` already.
    fn evict_resting(&self, most: usize, by: u64) -> usize {
        let cells = self.cells.borrow();
        // The clock is a coarse one: of those that are idle since the same tick, one that has asked for nothing yet, and the one that came first.
        let idle_since = |cell: &Cell| cell.idle_since().filter(|since| *since <= by);
        let mut idle: Vec<_> = cells.iter().filter_map(|(id, cell)| Some(((idle_since(cell)?, !cell.is_fresh(), *id), cell))).collect();
        let count = most.min(idle.len());
        if (1..idle.len()).contains(&count) {
            idle.select_nth_unstable_by_key(count - 1, |(order, _)| *order);
        }
        idle.iter().take(count).for_each(|(_, cell)| cell.evict());
        self.proxy.metrics.evicted.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// No file descriptor was left: what is kept without need is given back.
    pub(super) fn lacks_descriptors(&self, error: &io::Error) {
        self.proxy.lacks_descriptors(error);
        self.proxy.want();
        self.pool.clear();
        self.evict(LACKED);
    }

    /// Each connection ends with the answer that is under way.
    pub(super) fn close_all(&self) {
        self.cells.borrow().values().for_each(|cell| cell.close());
    }
}

/// A place among the connections that may be held.
#[derive(Debug)]
pub struct Slot(Arc<Proxy>);

impl Slot {
    /// One that was admitted.
    pub(super) fn new(proxy: Arc<Proxy>) -> Self {
        Self(proxy)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
