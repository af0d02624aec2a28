//! `OpenAPI` v3 documents, one for each group and version: what `kubectl explain`, `apply` and `diff` read.
//!
//! A component for every kind, named by its group in reverse; an operation for every verb, so that clients see which parameters it takes:
//! kubectl lets the server validate only where the `PATCH` operation lists `fieldValidation`.
use serde_json::{Map, Value, json};

mod component;
mod operation;

use component::Components;

/// One kind of a group and version.
#[derive(Debug, Clone)]
pub struct OpenApiResource {
    /// `Widget`
    pub kind: String,
    /// `widgets`
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The CRD's `openAPIV3Schema`, or [`crate::schema::builtin_open_api`].
    pub schema: Value,
    /// Whether it has the status subresource.
    pub has_status: bool,
    /// Whether it has the scale subresource.
    pub has_scale: bool,
}

/// The document of one group and version; the core group is the empty string.
pub fn document(group: &str, version: &str, resources: &[OpenApiResource]) -> Value {
    let mut components = Components::new(group, version);
    let mut paths = Map::new();
    for resource in resources {
        let references = components.add(resource);
        paths.extend(operation::paths(group, version, resource, &references));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "mesh-controller", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": components.into_schemas(),
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer token"}},
        },
    })
}

#[cfg(test)]
mod tests;
