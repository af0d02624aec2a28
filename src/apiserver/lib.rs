//! The embedded Kubernetes-compatible API: one path for every kind (check → default → validate → admit → commit → watch) over the [`crate::store`].
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
mod judges;
pub mod managed_fields;
mod metrics;
mod namespaces;
mod object;
pub mod openapi;
mod openapi_routes;
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
mod status;
mod strategy;
pub mod table;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::{admission::Admission, body::Body, request::User, server::ServeError, service::ApiService};
use self::{
    judges::Judges,
    metrics::ApiMetrics,
    registry::{Behaviour, CRDS, Registry, Resource},
};
use mesh_backend::Backend;
use mesh_kit::{metrics::Metrics, shutdown::Shutdown};
use mesh_store::{Store, Write, WriteError, Written};

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

/// The server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiServer(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    store: Store,
    options: Options,
    registry: watch::Sender<Arc<Registry>>,
    /// Held while the registry is built anew, so that an older one never replaces a newer.
    rebuilding: Mutex<()>,
    metrics: ApiMetrics,
    judges: Judges,
    /// Open watches end when this is cancelled.
    closing: CancellationToken,
}

impl ApiServer {
    /// Makes the permanent objects (namespaces and what they hold), and starts the tasks that keep namespaces, definitions and owned objects in order.
    ///
    /// # Errors
    /// The store refuses writes.
    pub async fn start(store: Store, options: Options, shutdown: &Shutdown) -> Result<Self, WriteError> {
        let registry = Arc::new(Registry::build(None, &store.list(CRDS, None)));
        let metrics = ApiMetrics::new(options.metrics.as_ref());
        let (registry, rebuilding, closing) = (watch::Sender::new(registry), Mutex::default(), CancellationToken::new());
        let inner = Arc::new(Inner { store, options, registry, rebuilding, metrics, judges: Judges::default(), closing });
        inner.make_permanent_objects().await?;
        let (end, closing) = (shutdown.triggered(), inner.closing.clone());
        shutdown.spawn_work(async move {
            end.await;
            closing.cancel();
        });
        let (store, end) = (inner.store.clone(), shutdown.triggered());
        shutdown.spawn("store", async move {
            tokio::select! {
                why = store.lost() => Err(why),
                () = end => Ok(()),
            }
        });
        Inner::spawn(shutdown, "garbage-collector", gc::collect(Arc::clone(&inner)));
        Inner::spawn(shutdown, "namespaces", namespaces::keep(Arc::clone(&inner)));
        Inner::spawn(shutdown, "event-expiry", events::expire(Arc::clone(&inner)));
        Inner::spawn(shutdown, "definitions", definitions::clean_up(Arc::clone(&inner)));
        Ok(Self(inner))
    }

    /// The server as a service, without a socket: for `kube::Client::new(server.service(), "default")`. Its user is the process itself.
    pub fn service(&self) -> ApiService {
        ApiService::new(Arc::clone(&self.0), User::internal())
    }

    /// The store behind it.
    pub fn store(&self) -> &Store {
        &self.0.store
    }
}

impl Inner {
    fn spawn(shutdown: &Shutdown, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let end = shutdown.triggered();
        shutdown.spawn(name, async move {
            tokio::select! {
                () = task => {}
                () = end => {}
            }
            Ok::<(), Infallible>(())
        });
    }

    /// The registry of the definitions as they are stored now: who sees a definition is served by it.
    fn registry(&self) -> Arc<Registry> {
        let registry = Arc::clone(&self.registry.borrow());
        if registry.revision >= self.store.changed(CRDS) { registry } else { self.rebuild_registry() }
    }

    fn registry_changes(&self) -> watch::Receiver<Arc<Registry>> {
        self.registry.subscribe()
    }

    /// Writes to the store. After a definition the registry is built anew at once, so that open watches learn of it.
    async fn commit(&self, resource: &Resource, write: Write) -> Result<Written, WriteError> {
        let written = self.store.write(write).await?;
        if written.changed && resource.behaviour == Behaviour::Definition {
            self.rebuild_registry();
        }
        Ok(written)
    }

    fn rebuild_registry(&self) -> Arc<Registry> {
        let _one_at_a_time = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&self.registry.borrow());
        if before.revision >= self.store.changed(CRDS) {
            return before;
        }
        let registry = Arc::new(Registry::build(Some(&before), &self.store.list(CRDS, None)));
        self.registry.send_replace(Arc::clone(&registry));
        registry
    }
}

#[cfg(test)]
mod tests;
