//! Whether this process leads, as a metric: asked when somebody reads it.
use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

use mesh_coordination::Leadership;
use mesh_kit::metrics::Metrics;

/// The gauge `mesh_leader`.
#[derive(Debug)]
struct Leader(Leadership);

/// Registers it.
pub(super) fn register(metrics: &Metrics, leadership: &Leadership) {
    metrics.register(|registry| registry.register_collector(Box::new(Leader(leadership.clone()))));
}

impl Collector for Leader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let descriptor = encoder.encode_descriptor("leader", "1 if this process leads and may write, else 0", None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(self.0.may_write())).encode(descriptor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_says_whether_this_process_leads() {
        let metrics = Metrics::default();
        register(&metrics, &Leadership::always());
        assert!(metrics.render().contains("\nmesh_leader 1\n"), "{}", metrics.render());
    }
}
