//! The one integration test binary; a module per subject.
mod acceptance;
mod cli;
mod controllers;
mod crds;
mod imports;
mod layout;
mod process_backend;
mod router;
