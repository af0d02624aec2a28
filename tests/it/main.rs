//! The one integration test binary; a module per subject.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "what fails in a helper of a test fails the test")]
mod acceptance;
mod cli;
mod cluster;
mod controllers;
mod crds;
mod election;
mod gear;
mod import;
mod imports;
mod kubectl;
mod layout;
mod packaging;
mod podman;
mod process_backend;
mod quadlet;
mod router;
mod vm;
