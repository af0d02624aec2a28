//! What the router counts. Requests write into cells that their service holds already, so that nothing is looked up or locked on their way.
pub mod cells;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use super::{endpoint::Condition, health::Health, table::RouteTable};
use cells::{Histogram, ServiceCells};
use mesh_kit::metrics::Metrics;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How an instance failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamError {
    /// No connection could be made.
    Connect,
    /// No connection was made in time.
    ConnectTimeout,
    /// The connection ended before the response did.
    Closed,
    /// The answer was no HTTP, or no upgrade that was asked for.
    Protocol,
    /// No response in time.
    Timeout,
}

const KINDS: [(&str, UpstreamError); 5] = [
    ("connect", UpstreamError::Connect),
    ("connect_timeout", UpstreamError::ConnectTimeout),
    ("closed", UpstreamError::Closed),
    ("protocol", UpstreamError::Protocol),
    ("timeout", UpstreamError::Timeout),
];

/// All of them.
#[derive(Debug, Default)]
pub struct RouterMetrics {
    services: Mutex<HashMap<(String, String), Arc<ServiceCells>>>,
    /// Requests that no service got.
    pub unrouted: ServiceCells,
    /// Requests sent to another endpoint, or again.
    pub retries: AtomicU64,
    /// Connections from clients now.
    pub connections: AtomicU64,
    /// Connections closed at once because there were too many, and none idle.
    pub refused: AtomicU64,
    /// Idle connections closed because others needed their places.
    pub evicted: AtomicU64,
    /// How many connections there may be now.
    pub places: AtomicU64,
    /// What troubles the router itself.
    pub health: Health,
    /// When the table in force was published: seconds since 1970.
    pub published: AtomicU64,
    /// The table in force, whose endpoints know what is under way.
    table: OnceLock<Arc<ArcSwap<RouteTable>>>,
    /// Drains reported as done.
    pub drains: AtomicU64,
    /// From the write of a slice to the table that has it.
    pub learned: Histogram,
    errors: [AtomicU64; 5],
    endpoints: [AtomicU64; 3],
}

impl RouterMetrics {
    /// Registers everything; once per process.
    pub fn register(metrics: &Metrics, health: Health) -> Arc<Self> {
        let this = Arc::new(Self { health, ..Self::default() });
        metrics.register(|registry| registry.register_collector(Box::new(this.clone())));
        this
    }

    /// The cells of a service; the same ones for as long as it is kept.
    pub fn service(&self, namespace: &str, name: &str) -> Arc<ServiceCells> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.entry((namespace.to_owned(), name.to_owned())).or_default().clone()
    }

    /// Forgets a service that is no more.
    pub fn forget_service(&self, namespace: &str, name: &str) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Counts a failure of an instance.
    pub fn failed(&self, error: UpstreamError) {
        if let Some(cell) = KINDS.iter().position(|(_, kind)| *kind == error).and_then(|at| self.errors.get(at)) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says how many endpoints there are.
    pub fn endpoints(&self, conditions: impl Iterator<Item = Condition>) {
        let (mut ready, mut ending, mut unready) = (0, 0, 0);
        for condition in conditions {
            match condition {
                Condition::Ready => ready += 1,
                Condition::Terminating | Condition::Ended => ending += 1,
                Condition::Unready | Condition::Stranded => unready += 1,
            }
        }
        for (cell, count) in self.endpoints.iter().zip([ready, ending, unready]) {
            cell.store(count, Ordering::Relaxed);
        }
    }

    /// Where the table in force is found.
    pub fn watch_table(&self, table: Arc<ArcSwap<RouteTable>>) {
        // A process has one router; a second one in a test is counted by metrics of its own.
        let _ = self.table.set(table);
    }

    fn in_flight(&self) -> u64 {
        let table = self.table.get().map(|table| table.load_full()).unwrap_or_default();
        table.services.iter().flat_map(|s| &s.endpoints).map(|e| e.live.in_flight()).sum()
    }

    fn encode_requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let unrouted = (String::new(), String::new());
        let all = || services.iter().map(|(key, cells)| (key, cells.as_ref())).chain([(&unrouted, &self.unrouted)]);
        let mut requests =
            encoder.encode_descriptor("router_requests", "requests that ended, by class of their status", None, MetricType::Counter)?;
        for ((namespace, name), cells) in all() {
            for (class, cell) in CLASSES.iter().zip(&cells.classes) {
                let count = cell.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("namespace", namespace.as_str()), ("service", name.as_str()), ("code", class)];
                    requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                }
            }
        }
        let mut durations = encoder.encode_descriptor(
            "router_request_duration_seconds",
            "from a request's head to the end of its response",
            None,
            MetricType::Histogram,
        )?;
        for ((namespace, name), cells) in all() {
            let (sum, count, buckets) = cells.durations.read();
            let labels = [("namespace", namespace.as_str()), ("service", name.as_str())];
            durations.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }

    fn encode_health(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let lacked = AtomicU64::new(self.health.lacked());
        counter(encoder, "router_descriptors_lacked", "times that too few file descriptors were left", &lacked)?;
        let failures = AtomicU64::new(self.health.watch_failures());
        counter(encoder, "router_watch_failures", "watches of the API that failed", &failures)?;
        let stale = AtomicU64::new(self.health.stale().map_or(0, |stale| stale.as_secs()));
        gauge(encoder, "router_api_away_seconds", "for how long the API has not answered; 0 if it answers", &stale)?;
        gauge(encoder, "router_table_timestamp_seconds", "when the table in force was published", &self.published)
    }

    fn encode_rest(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        counter(encoder, "router_retries", "requests sent to another endpoint, or again", &self.retries)?;
        counter(encoder, "router_connections_refused", "connections closed because there were too many, and none idle", &self.refused)?;
        counter(encoder, "router_connections_evicted", "idle connections closed because others needed their places", &self.evicted)?;
        gauge(encoder, "router_connections_limit", "connections from clients that are held at most", &self.places)?;
        self.encode_health(encoder)?;
        counter(encoder, "router_drains", "drains reported as done", &self.drains)?;
        gauge(encoder, "router_connections", "connections from clients", &self.connections)?;
        gauge(encoder, "router_in_flight", "requests and upgraded connections under way", &AtomicU64::new(self.in_flight()))?;
        let mut errors = encoder.encode_descriptor("router_upstream_errors", "failures of instances", None, MetricType::Counter)?;
        for ((kind, _), cell) in KINDS.iter().zip(&self.errors) {
            family(&mut errors, &[("kind", *kind)])?.encode_counter::<NoLabelSet, _, u64>(&cell.load(Ordering::Relaxed), None)?;
        }
        let mut endpoints = encoder.encode_descriptor("router_endpoints", "endpoints by state", None, MetricType::Gauge)?;
        for (state, cell) in ["ready", "terminating", "unready"].iter().zip(&self.endpoints) {
            family(&mut endpoints, &[("state", *state)])?.encode_gauge(&cell.load(Ordering::Relaxed))?;
        }
        let (sum, count, buckets) = self.learned.read();
        encoder
            .encode_descriptor(
                "router_endpoint_learned_seconds",
                "from the write of an EndpointSlice to the table that has it",
                None,
                MetricType::Histogram,
            )?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl Collector for RouterMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_requests(&mut encoder)?;
        self.encode_rest(&mut encoder)
    }
}

fn family<'s, S: EncodeLabelSet>(
    encoder: &'s mut prometheus_client::encoding::MetricEncoder<'_>,
    labels: &'s S,
) -> Result<prometheus_client::encoding::MetricEncoder<'s>, fmt::Error> {
    encoder.encode_family(labels)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, cell: &AtomicU64) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&cell.load(Ordering::Relaxed), None)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, cell: &AtomicU64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&cell.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    #[test]
    fn what_was_counted_is_rendered_and_a_service_that_went_away_is_not() {
        let registry = Metrics::default();
        let metrics = RouterMetrics::register(&registry, Health::default());
        metrics.service("default", "api").ended(StatusCode::OK, Duration::from_millis(3));
        metrics.failed(UpstreamError::Closed);
        metrics.endpoints([Condition::Ready, Condition::Ready, Condition::Ended].into_iter());
        let text = registry.render();
        for line in [
            r#"mesh_router_requests_total{namespace="default",service="api",code="2xx"} 1"#,
            r#"mesh_router_request_duration_seconds_bucket{le="0.005",namespace="default",service="api"} 1"#,
            r#"mesh_router_upstream_errors_total{kind="closed"} 1"#,
            r#"mesh_router_endpoints{state="ready"} 2"#,
            r#"mesh_router_endpoints{state="terminating"} 1"#,
            "mesh_router_in_flight 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.forget_service("default", "api");
        assert!(!registry.render().contains("default"));
    }
}
