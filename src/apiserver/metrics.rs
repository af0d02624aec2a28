//! The API server's metrics; labels come from closed sets only.
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use mesh_kit::metrics::Metrics;

/// What kind of request it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Verb {
    Read,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    Other,
}

impl Verb {
    pub(crate) fn of(method: &Method, watch: bool) -> Self {
        match *method {
            Method::GET | Method::HEAD if watch => Self::Watch,
            Method::GET | Method::HEAD => Self::Read,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// How it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Ok,
    Refused,
    Conflict,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verb: Verb,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: Verb,
}

#[derive(Debug)]
pub(crate) struct ApiMetrics {
    requests: Family<Labels, Counter>,
    seconds: Family<VerbLabel, Histogram, fn() -> Histogram>,
    watches: Gauge,
}

impl ApiMetrics {
    pub(crate) fn new(metrics: Option<&Metrics>) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]);
        let this = Self { requests: Family::default(), seconds: Family::new_with_constructor(histogram), watches: Gauge::default() };
        if let Some(metrics) = metrics {
            metrics.register(|registry| {
                registry.register("apiserver_requests", "Requests answered", this.requests.clone());
                registry.register(
                    "apiserver_request_seconds",
                    "Time until a request was answered (of a watch: until it began)",
                    this.seconds.clone(),
                );
                registry.register("apiserver_watches", "Watches open now", this.watches.clone());
            });
        }
        this
    }

    pub(crate) fn answered(&self, verb: Verb, code: StatusCode, took: Duration) {
        let outcome = match code {
            StatusCode::CONFLICT => Outcome::Conflict,
            code if code.is_server_error() => Outcome::Failed,
            code if code.is_client_error() => Outcome::Refused,
            _ => Outcome::Ok,
        };
        self.requests.get_or_create(&Labels { verb, outcome }).inc();
        self.seconds.get_or_create(&VerbLabel { verb }).observe(took.as_secs_f64());
    }

    pub(crate) fn watch_opened(&self) -> OpenWatch {
        self.watches.inc();
        OpenWatch(self.watches.clone())
    }
}

/// Counts as an open watch until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenWatch(Gauge);

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.dec();
    }
}
