//! The one integration test binary; a module per subject.
mod controllers;
mod process_backend;
mod router;
