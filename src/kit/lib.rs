//! Small parts that every module may use: clock, file descriptors, accepting, shutdown, backoff, watches, telemetry, metrics, the service manager. Knows nothing of this project's objects.
pub mod accept;
pub mod ask;
pub mod backoff;
pub mod descriptors;
pub mod guests;
pub mod meant;
pub mod metrics;
pub mod shutdown;
pub mod status;
pub mod systemd;
pub mod telemetry;
pub mod watch;

pub use mesh_base::{clock, exhausted, redact, replace};
