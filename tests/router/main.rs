//! The router on real sockets: tables made by hand, instances of the test's own; and the API's part through a fake API server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "in tests a panic is how a failure is said"
)]
mod drain;
mod fixture;
mod framing;
mod gate;
mod places;
mod proxy;
mod retry;
mod sessions;
mod slow;
mod websocket;
