//! One worker: a thread with a runtime of its own, its connections, its pool, and the sweeper that ends what took too long.
use std::{
    cell::{Cell as StdCell, RefCell},
    collections::{HashMap, HashSet},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    task::LocalSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    conn::{Cell, Gated},
    exchange::{Client, respond},
    forward::Peer,
    pool::Pool,
    proxy::Proxy,
};
use mesh_kit::exhausted::is_exhausted;

/// Bytes that the kernel holds of what is not sent yet.
const NOT_SENT: u32 = 256 * 1024;
/// Idle connections that are ended at once when descriptors run out.
const LACKED: usize = 16;
/// How often the sweeper looks; time limits are kept to this.
const SWEEP: Duration = Duration::from_millis(100);

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
    fn new(proxy: Arc<Proxy>, stop: CancellationToken) -> Rc<Self> {
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

    fn sweep(&self) {
        let now = self.proxy.now();
        let before = self.clock.swap(now, Ordering::Relaxed);
        self.cells.borrow().values().for_each(|cell| cell.sweep(now));
        self.pool.sweep(now);
        self.hurry();
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
        let cells = self.cells.borrow();
        // The clock is a coarse one: of those that are idle since the same tick, the one that came first.
        let mut idle: Vec<_> = cells.iter().filter_map(|(id, cell)| Some(((cell.idle_since()?, *id), cell))).collect();
        let count = most.min(idle.len());
        if (1..idle.len()).contains(&count) {
            idle.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
        }
        idle.iter().take(count).for_each(|(_, cell)| cell.evict());
        self.proxy.metrics.evicted.fetch_add(count as u64, Ordering::Relaxed);
        count
    }

    /// No file descriptor was left: what is kept without need is given back.
    pub(super) fn lacks_descriptors(&self, error: &io::Error) {
        self.proxy.lacks_descriptors(error);
        self.pool.clear();
        self.evict(LACKED);
    }

    fn close_all(&self) {
        self.cells.borrow().values().for_each(|cell| cell.close());
    }
}

/// Serves connections of one listener on this thread until `stop`, then lets what is under way end within `grace`.
///
/// # Errors
/// The runtime cannot be made, or the socket is none that it can take.
pub fn run(proxy: Arc<Proxy>, listener: StdListener, stop: CancellationToken, grace: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let worker = Worker::new(proxy, stop);
        let sweeper = tokio::task::spawn_local(sweep(worker.clone()));
        accept(&worker, listener).await;
        worker.tasks.close();
        worker.close_all();
        if tokio::time::timeout(grace, worker.tasks.wait()).await.is_err() {
            tracing::warn!(connections = worker.tasks.len(), "router: connections were cut at the end of the grace period");
        }
        sweeper.abort();
        Ok(())
    })
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.sweep();
    }
}

async fn accept(worker: &Rc<Worker>, listener: TcpListener) {
    let stop = worker.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((io, peer)) if worker.proxy.admit(|most| worker.evict(most)) => open(worker, io, peer),
            // Too many, and all of them at work: dropped, which closes it.
            Ok(_) => {}
            Err(error) if is_exhausted(&error) => {
                worker.lacks_descriptors(&error);
                tokio::time::sleep(SWEEP).await;
            }
            // It was gone before it was taken.
            Err(error) => tracing::debug!(%error, "router: accept"),
        }
    }
}

fn open(worker: &Rc<Worker>, io: TcpStream, peer: SocketAddr) {
    let slot = Slot(worker.proxy.clone());
    // Without it small answers only come later; the connection works all the same.
    let _ = io.set_nodelay(true);
    // What a slow client has not been sent waits here, not in the kernel, where it could not be told from what is on its way.
    let _ = SockRef::from(&io).set_tcp_notsent_lowat(NOT_SENT);
    let settings = worker.proxy.table().settings.clone();
    let address = peer.ip().to_canonical();
    let id = worker.next.replace(worker.next.get() + 1);
    let cell = Arc::new(Cell::new(worker.clock.clone(), settings.limits.header, settings.limits.send));
    worker.cells.borrow_mut().insert(id, cell.clone());
    let client = Rc::new(Client {
        cell,
        worker: worker.clone(),
        peer: Peer {
            address: HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            trusted: settings.trusts(address),
        },
        requests: StdCell::new(0),
        slot: Rc::new(slot),
    });
    worker.tasks.spawn_local(async move {
        serve(io, &client).await;
        client.worker.cells.borrow_mut().remove(&id);
    });
}

async fn serve(io: TcpStream, client: &Rc<Client>) {
    let cell = client.cell.clone();
    let service = service_fn(|request| respond(client.clone(), request));
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(Gated::new(io, cell.clone())), service);
    let mut connection = pin!(connection.with_upgrades());
    let told = StdCell::new(false);
    let end = std::future::poll_fn(|cx| {
        cell.set_waker(cx.waker());
        loop {
            // Not before its first request: hyper would end the connection at once.
            let tell = || !told.get() && cell.is_closing() && !cell.is_fresh();
            if tell() {
                told.set(true);
                connection.as_mut().graceful_shutdown();
            }
            let polled = connection.as_mut().poll(cx);
            // That may only just have come.
            if polled.is_ready() || !tell() {
                return polled;
            }
        }
    });
    if let Err(error) = end.await {
        tracing::debug!(%error, "connection of a client ended");
    }
}

/// A place among the connections that may be held.
#[derive(Debug)]
pub struct Slot(Arc<Proxy>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
