//! Probes that could not be made, for a cause on our side.
use prometheus_client::metrics::{counter::Counter, family::Family};

use mesh_kit::metrics::Metrics;

/// What could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Startup,
    Readiness,
    Liveness,
    /// Who listens on the instance's port.
    Port,
}

impl Asked {
    fn label(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
            Self::Port => "port",
        }
    }
}

/// The counters `mesh_probes_unknown_total`.
#[derive(Debug, Clone, Default)]
pub struct UnknownProbes(Family<Vec<(&'static str, &'static str)>, Counter>);

impl UnknownProbes {
    /// Registers them.
    pub fn register(metrics: &Metrics) -> Self {
        let this = Self::default();
        let help = "Probes that could not be made for a cause on our side, and say nothing about the instance";
        metrics.register(|registry| registry.register("probes_unknown", help, this.0.clone()));
        this
    }

    /// One more.
    pub(super) fn count(&self, asked: Asked) {
        self.0.get_or_create(&vec![("probe", asked.label())]).inc();
    }

    /// How many there were.
    #[cfg(test)]
    pub(super) fn counted(&self, asked: Asked) -> u64 {
        self.0.get_or_create(&vec![("probe", asked.label())]).get()
    }
}
