//! What instances use, as metrics: asked of the backend when somebody reads them, and never otherwise.
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use tokio::time::{Instant, timeout};

use mesh_backend::{Backend, InstanceUsage};
use mesh_kit::metrics::Metrics;

/// What was asked less than this ago is not asked again.
const FRESH: Duration = Duration::from_secs(2);
/// A reader of metrics waits no longer than this for the backend.
const PATIENCE: Duration = Duration::from_secs(5);

/// The metrics of what instances use.
#[derive(Debug, Clone)]
pub(crate) struct UsageMetrics {
    backend: Backend,
    last: Arc<Mutex<Last>>,
}

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    usage: Vec<InstanceUsage>,
}

impl UsageMetrics {
    /// Registers them.
    pub(super) fn register(metrics: &Metrics, backend: Backend) -> Self {
        let this = Self { backend, last: Arc::default() };
        metrics.register(|registry| registry.register_collector(Box::new(this.clone())));
        this
    }

    /// Asks the backend, unless it was asked just now. What it cannot say is left out.
    pub(super) async fn refresh(&self) {
        if self.with(|last| last.at.is_some_and(|at| at.elapsed() < FRESH)) {
            return;
        }
        let usage = match timeout(PATIENCE, self.backend.usage()).await {
            Ok(Ok(usage)) => usage,
            Ok(Err(error)) => {
                tracing::debug!(%error, "what instances use is not known");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        self.with(|last| *last = Last { at: Some(Instant::now()), usage });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Last) -> T) -> T {
        act(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Collector for UsageMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.with(|last| {
            let labels = |of: &InstanceUsage| [("namespace", of.key.namespace.clone()), ("instance", of.key.name.clone())];
            let mut family = encoder.encode_descriptor(
                "instance_memory",
                "Memory that an instance's container uses",
                Some(&Unit::Bytes),
                prometheus_client::metrics::MetricType::Gauge,
            )?;
            for of in &last.usage {
                ConstGauge::new(of.memory).encode(family.encode_family(&labels(of))?)?;
            }
            let mut family = encoder.encode_descriptor(
                "instance_cpu",
                "CPU time that an instance's container has used since its start",
                Some(&Unit::Seconds),
                prometheus_client::metrics::MetricType::Counter,
            )?;
            for of in &last.usage {
                ConstCounter::new(of.cpu.as_secs_f64()).encode(family.encode_family(&labels(of))?)?;
            }
            Ok(())
        })
    }
}
