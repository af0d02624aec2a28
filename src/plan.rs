//! The pure core: what should be, what is, and the difference as actions. No IO, no clock, no random source; `now` and seeds come in as values.
pub mod instance;
pub mod routes;
