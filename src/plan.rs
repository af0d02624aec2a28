//! The pure core: what should be, what is, and the difference as actions. No IO, no clock, no random source; `now` and seeds come in as values.
pub mod endpoints;
pub mod environment;
#[cfg(test)]
pub(crate) mod fixture;
pub mod instance;
pub mod leases;
pub mod lifecycle;
pub mod rollout;
pub mod routes;
pub mod service_status;
pub mod template;
pub mod validate;
