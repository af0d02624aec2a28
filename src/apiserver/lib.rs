//! The embedded Kubernetes-compatible API: one path for every kind (check → default → validate → admit → commit → watch) over a [`mesh_store`].
//!
//! ```text
//!  https ──► server                                       connections; what starts the rest
//!              ├─ gc, namespaces, events, definitions     tasks that keep what is stored in order
//!              └─ service                                 a request to who answers it:
//!                   ├─ rest                               objects, a file per verb
//!                   │    └─ strategy                      what differs by kind when they are written
//!                   └─ discovery, openapi_routes, health
//!  state                                                  what all these share: the store, the registry, the options
//!  request, status                                        what is asked, and how it is refused
//!  registry ──► schema, table                             which resources there are; what their objects look like
//! ```
//! A file imports only what stands below it.
//!
//! Owns: what is served, how it is written and read, garbage collection, namespaces, definitions, credentials and the HTTPS server.
//! Never: decides what should run. Called by the wiring ([`ApiServer::start`], [`ApiServer::run`]) and, through `kube::Client`, by everything else.
//! The contract is Kubernetes' own, as recorded from kubectl, client-go and kube-rs on the wire.
mod accept;
pub mod admission;
mod auth;
mod body;
pub mod credentials;
pub mod decode;
mod definitions;
mod discovery;
mod events;
mod gc;
mod group_resource;
mod health;
mod https;
mod judges;
pub mod managed_fields;
mod metrics;
mod namespaces;
mod object;
pub mod openapi;
mod openapi_routes;
mod options;
pub mod patch;
mod path;
mod peer;
pub mod protobuf;
mod query;
mod registry;
mod request;
mod rest;
pub mod schema;
mod selectors;
mod server;
mod service;
mod state;
mod status;
mod strategy;
pub mod table;

pub use self::{
    admission::Admission,
    body::Body,
    https::ServeError,
    options::{Options, Protected},
    request::User,
    server::ApiServer,
    service::ApiService,
};

#[cfg(test)]
mod tests;
