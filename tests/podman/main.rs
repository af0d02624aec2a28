//! The podman backend on a real engine: one of the tests' own (tests/podman/engine.sh), or that of `$MESH_TEST_ENGINE_SOCKET`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod docker;
mod engine;
mod faults;
mod fixture;
mod host;
mod isolation;
mod lifecycle;
mod logs;
mod main_path;
mod refusals;
mod registry;
mod security;
mod stuck;
