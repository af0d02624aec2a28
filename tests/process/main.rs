//! The process backend with real shims and real programs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod adoption;
mod containment;
mod cycles;
mod exec;
mod fixture;
mod logs;
mod start_stop;
