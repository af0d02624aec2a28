//! Quadlet units: golden files per version of Podman, and hostile specs against a model of the generator (the generator itself is in `vm::quadlet`).
pub(crate) mod expected;
mod golden;
pub(crate) mod hostile;
pub(crate) mod judge;
