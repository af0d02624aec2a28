//! Small parts that every module may use: clock, file descriptors, shutdown, backoff, watches, telemetry, metrics, the service manager. Knows nothing of this project's objects.
#[cfg(feature = "runtime")]
pub mod backoff;
pub mod clock;
pub mod descriptors;
#[cfg(feature = "runtime")]
pub mod metrics;
pub mod redact;
#[cfg(feature = "runtime")]
pub mod shutdown;
#[cfg(feature = "runtime")]
pub mod systemd;
#[cfg(feature = "runtime")]
pub mod telemetry;
#[cfg(feature = "runtime")]
pub mod watch;
