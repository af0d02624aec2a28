//! What all workers of a router share: the table in force, what is counted, and the clock. Usable without any API: publish a table, [`serve`](super::serve::serve).
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::{metrics::RouterMetrics, table::RouteTable};
use mesh_kit::{clock, descriptors};

/// The shared part of a router.
#[derive(Debug)]
pub struct Proxy {
    table: Arc<ArcSwap<RouteTable>>,
    /// What is counted.
    pub metrics: Arc<RouterMetrics>,
    begun: Instant,
    /// When a connection was refused last, in milliseconds of [`Proxy::now`]; 0: never.
    wanted: AtomicU64,
}

/// Descriptors that are kept for all else: probes, the API, the store, logs.
const RESERVE: (u64, u64) = (64, 2048);

/// Connections from clients under this limit of descriptors; each may need another one, to an instance.
pub fn places_of(limit: u64) -> usize {
    let reserve = (limit / 8).clamp(RESERVE.0, RESERVE.1);
    usize::try_from(limit.saturating_sub(reserve) / 2).unwrap_or(usize::MAX).max(1)
}

/// So many are ended at a time: looking for them costs more than ending them.
fn share(most: u64) -> usize {
    usize::try_from(most / 256).unwrap_or(usize::MAX).max(1)
}

impl Proxy {
    /// With an empty table, which answers 503.
    pub fn new(metrics: Arc<RouterMetrics>) -> Arc<Self> {
        let table = Arc::new(ArcSwap::from_pointee(RouteTable::default()));
        metrics.watch_table(table.clone());
        metrics.places.store(Self::places(&table.load()) as u64, Ordering::Relaxed);
        Arc::new(Self { table, metrics, begun: Instant::now(), wanted: AtomicU64::new(0) })
    }

    /// From now on every worker decides by this table.
    pub fn publish(&self, table: Arc<RouteTable>) {
        self.metrics.endpoints(table.services.iter().flat_map(|s| &s.endpoints).map(|e| e.condition));
        self.metrics.places.store(Self::places(&table) as u64, Ordering::Relaxed);
        self.metrics.published.store(u64::try_from(clock::now().as_second()).unwrap_or(0), Ordering::Relaxed);
        self.table.store(table);
    }

    /// The table in force.
    pub fn table(&self) -> arc_swap::Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// Milliseconds since the router began, and one more: 0 stands for never.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).map_or(u64::MAX, |millis| millis.saturating_add(1))
    }

    /// How many connections may be held: as many as it was told, if there are descriptors for them and for the connections to instances that they need.
    fn places(table: &RouteTable) -> usize {
        table.settings.max_connections.min(places_of(descriptors::limit()))
    }

    /// Whether one more connection may be held; counts it if so. With none left, `evict` may end so many of those that are idle.
    pub(super) fn admit(&self, evict: impl FnOnce(usize) -> usize) -> bool {
        let metrics = &self.metrics;
        let most = metrics.places.load(Ordering::Relaxed);
        if metrics.connections.fetch_add(1, Ordering::Relaxed) < most || evict(share(most)) > 0 {
            return true;
        }
        metrics.connections.fetch_sub(1, Ordering::Relaxed);
        metrics.refused.fetch_add(1, Ordering::Relaxed);
        self.want();
        false
    }

    /// A place, or a descriptor, is wanted now.
    pub(super) fn want(&self) {
        self.wanted.store(self.now(), Ordering::Relaxed);
    }

    /// How many idle connections each worker is to end, because one of them had to refuse one since `since`.
    pub(super) fn wanted(&self, since: u64) -> usize {
        let at = self.wanted.load(Ordering::Relaxed);
        if at != 0 && at >= since { share(self.metrics.places.load(Ordering::Relaxed)) } else { 0 }
    }

    /// Too few file descriptors were left.
    pub(super) fn lacks_descriptors(&self, error: &std::io::Error) {
        if self.metrics.health.lacks_descriptors() {
            tracing::error!(%error, limit = descriptors::limit(), "router: too few file descriptors are left; idle connections are closed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_needs_two_descriptors_and_a_share_is_kept_for_all_else() {
        for (limit, places) in [(256, 96), (1024, 448), (4096, 1792), (524_288, 261_120), (10, 1)] {
            assert_eq!(places_of(limit), places, "{limit}");
        }
    }
}
