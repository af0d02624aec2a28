//! The pure core: what should be, what is, and the difference as actions. No IO, no clock, no random source; `now` and seeds come in as values.
pub mod about;
pub mod container;
pub mod endpoints;
pub mod environment;
pub mod files;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod history;
pub mod instance;
pub mod leases;
pub mod lifecycle;
pub mod pull_secrets;
pub mod quantity;
pub mod rollout;
pub mod routes;
pub mod service_status;
pub mod task;
pub mod template;
pub mod uptime;
pub mod validate;
