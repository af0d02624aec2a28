//! Locks and leaders by the agent's door: the real controller and its instances, the SDK and the command line as programs use them, kubectl beside them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod command;
mod door;
mod example;
mod faults;
mod leaders;
mod locks;
mod raw;
mod redis;
mod rig;
mod sdks;
mod tasks;
