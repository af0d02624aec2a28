//! How often each controller has looked at an object: near nothing at rest, and whoever sees it rise has found a loop.
use prometheus_client::metrics::{counter::Counter, family::Family};

use mesh_kit::metrics::Metrics;

type Labels = Vec<(&'static str, &'static str)>;

/// The counters `mesh_controller_reconciles_total`, of all controllers of a process.
#[derive(Debug, Clone, Default)]
pub struct Reconciles(Family<Labels, Counter>);

impl Reconciles {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.register(|registry| {
            registry.register("controller_reconciles", "Looks of a controller at an object, by how they ended", this.0.clone());
        });
        this
    }

    /// One more.
    pub(super) fn count(&self, controller: &'static str, done: bool) {
        let result = if done { "success" } else { "error" };
        self.0.get_or_create(&vec![("controller", controller), ("result", result)]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_told_by_controller_and_result() {
        let metrics = Metrics::default();
        let reconciles = Reconciles::register(&metrics);
        reconciles.count("endpoints", true);
        reconciles.count("endpoints", true);
        reconciles.count("endpoints", false);
        let text = metrics.render();
        for line in [r#"{controller="endpoints",result="success"} 2"#, r#"{controller="endpoints",result="error"} 1"#] {
            assert!(text.contains(&format!("mesh_controller_reconciles_total{line}\n")), "{text}");
        }
    }
}
