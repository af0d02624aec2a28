//! Small parts that every module may use: clock, shutdown, backoff, watches, telemetry, metrics, the service manager. Knows nothing of this project's objects.
pub mod backoff;
pub mod clock;
pub mod metrics;
pub mod redact;
pub mod shutdown;
pub mod systemd;
pub mod telemetry;
pub mod watch;
