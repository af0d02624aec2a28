//! What all workers of a router share: the table in force, what is counted, and the clock. Usable without any API: publish a table, serve.
use std::{
    net::TcpListener,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{metrics::RouterMetrics, table::RouteTable, worker};

/// The shared part of a router.
#[derive(Debug)]
pub struct Proxy {
    table: Arc<ArcSwap<RouteTable>>,
    /// What is counted.
    pub metrics: Arc<RouterMetrics>,
    begun: Instant,
}

/// A worker that could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No thread.
    #[error("router: start a worker's thread")]
    Thread(#[source] std::io::Error),
    /// No runtime, or a socket it cannot take.
    #[error("router: start a worker")]
    Worker(#[source] std::io::Error),
    /// A bug.
    #[error("router: a worker panicked")]
    Panicked,
}

impl Proxy {
    /// With an empty table, which answers 503.
    pub fn new(metrics: Arc<RouterMetrics>) -> Arc<Self> {
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
        metrics.watch_table(table.clone());
        Arc::new(Self { table, metrics, begun: Instant::now() })
    }

    /// From now on every worker decides by this table.
    pub fn publish(&self, table: Arc<RouteTable>) {
        self.metrics.endpoints(table.services.iter().flat_map(|s| &s.endpoints).map(|e| e.condition));
        self.table.store(table);
    }

    /// The table in force.
    pub fn table(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// Milliseconds since the router began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether one more connection may be held; counts it if so.
    pub(super) fn admit(&self) -> bool {
        let most = self.table.load().settings.max_connections;
        if self.metrics.connections.fetch_add(1, Ordering::Relaxed) < most as u64 {
            return true;
        }
        self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.metrics.refused.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Serves each listener on a thread of its own until `stop`; then what is under way may end within `grace`.
    ///
    /// # Errors
    /// A worker that could not start.
    pub async fn serve(self: &Arc<Self>, listeners: Vec<TcpListener>, stop: CancellationToken, grace: Duration) -> Result<(), Error> {
        let mut ends = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let (done, end) = oneshot::channel();
            let (proxy, stop) = (self.clone(), stop.clone());
            std::thread::Builder::new()
                .name(format!("router-{index}"))
                .spawn(move || done.send(worker::run(proxy, listener, stop, grace)))
                .map_err(Error::Thread)?;
            ends.push(end);
        }
        let ends = ends.into_iter().map(async |end| end.await.map_err(|_| Error::Panicked)?.map_err(Error::Worker));
        futures::future::try_join_all(ends).await.map(drop)
    }
}
