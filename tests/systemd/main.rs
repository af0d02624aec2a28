//! Units: those that are generated, judged by a model of Quadlet; and a real systemd with Podman and Quadlet, which tests/vm/vm.sh boots.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod quadlet;
mod vm;
