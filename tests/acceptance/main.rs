//! The real programs as their users drive them: the controller under kubectl, a router of its own, and the hook of a pod that ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod descriptors;
mod disk;
mod hook;
mod kubectl;
mod second_router;
mod standalone;
mod thief;
mod with_kubectl;
