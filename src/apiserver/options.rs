//! What the wiring chooses for a server.
use crate::admission::Admission;
use mesh_backend::Backend;
use mesh_kit::metrics::Metrics;

/// What the wiring chooses.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// May refuse writes after validation, in order.
    pub admission: Vec<Admission>,
    /// Whose instances' output `GET …/meshinstances/NAME/log` streams; none: 501.
    pub logs: Option<Backend>,
    /// PEM of the CA that signed the server's certificate, for the `ConfigMap` in every namespace; may be empty.
    pub ca_certificate: String,
    /// Where to register; none: nowhere.
    pub metrics: Option<Metrics>,
    /// What nobody may delete, beside what Kubernetes protects.
    pub protected: Vec<Protected>,
}

/// An object without namespace that nobody may delete.
#[derive(Debug, Clone)]
pub struct Protected {
    /// Of what kind: `namespaces`, `customresourcedefinitions.apiextensions.k8s.io`.
    pub resource: &'static str,
    /// Its name.
    pub name: String,
    /// Why, and what to do instead.
    pub why: String,
}
