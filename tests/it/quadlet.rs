//! Quadlet units: golden files per version of Podman, hostile specs against a model of the generator, and against the generator itself.
mod expected;
mod golden;
mod hostile;
mod judge;
mod vm;
