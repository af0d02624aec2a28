//! The Lease that says "this router lives": agents wait for the drain reports of routers that hold one, and for no others.
//! It is there before the router sends an instance anything, and given back after the last request.
use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::RouterOptions;
use mesh_api::labels::{DRAIN_ADDRESS, ROUTER_LEASE};
use mesh_kit::{backoff::Backoff, clock, watch::refused::remedy};

/// After so long without renewal the router counts as dead.
const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(5);
/// While the API is away; soon enough for a lease that runs out.
const AWAY: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(2) };
/// What the API refuses is tried seldom: somebody has to mend it.
const REFUSED: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(30) };

/// The Lease of one router process.
#[derive(Debug, Clone)]
pub struct RouterLease {
    api: Api<Lease>,
    namespace: String,
    /// The process.
    holder: String,
    /// The `MeshRouter` it serves for.
    router: String,
    /// Where it is asked whether it has let a pod go.
    drain_address: Option<SocketAddr>,
}

impl RouterLease {
    /// Not taken yet.
    pub fn new(client: Client, options: &RouterOptions) -> Self {
        Self {
            api: Api::namespaced(client, &options.namespace),
            namespace: options.namespace.clone(),
            holder: options.name.clone(),
            router: options.router.clone(),
            drain_address: options.drain_address,
        }
    }

    fn name(&self) -> String {
        format!("router-{}", self.holder)
    }

    /// Takes it, however long that needs.
    pub async fn take(&self) {
        let mut row = 1;
        while let Err(error) = self.write().await {
            row += 1;
            tokio::time::sleep(self.failed("take", &error, row)).await;
        }
    }

    /// Renews it for as long as it is polled.
    pub async fn renew(&self) {
        let (mut wait, mut row) = (RENEW, 1);
        loop {
            tokio::time::sleep(wait).await;
            (wait, row) = match self.write().await {
                Ok(()) => (RENEW, 1),
                Err(error) => (self.failed("renew", &error, row + 1), row + 1),
            };
        }
    }

    /// Says what went wrong; how long to wait.
    fn failed(&self, act: &'static str, error: &kube::Error, row: u32) -> Duration {
        let remedy = if let kube::Error::Api(status) = error {
            remedy(status, "create, patch or delete", "leases.coordination.k8s.io", Some(&self.namespace))
        } else {
            None
        };
        // The first of a row says it.
        if row == 2 {
            let remedy = remedy.as_deref().unwrap_or("it goes on as soon as the API answers");
            tracing::warn!(lease = self.name(), %error, "router: {act} the lease: {remedy}");
        }
        if remedy.is_some() { REFUSED } else { AWAY }.delay(row, rand::random())
    }

    /// Gives it back; an API that is away finds it expired later.
    pub async fn release(&self) {
        let (name, params) = (self.name(), DeleteParams::default());
        let delete = self.api.delete(&name, &params);
        match tokio::time::timeout(Duration::from_secs(2), delete).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(lease = self.name(), %error, "router: release the lease"),
            Err(_) => tracing::debug!(lease = self.name(), "router: the lease was not released in time"),
        }
    }

    async fn write(&self) -> Result<(), kube::Error> {
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.name(), "namespace": self.namespace, "labels": { ROUTER_LEASE: self.router } },
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": DURATION.as_secs(),
                "renewTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(clock::now()),
            },
        });
        if let (Some(address), Some(metadata)) = (self.drain_address, lease.get_mut("metadata").and_then(serde_json::Value::as_object_mut))
        {
            metadata.insert("annotations".to_owned(), json!({ DRAIN_ADDRESS: address.to_string() }));
        }
        let params = PatchParams::apply(&format!("mesh-router/{}", self.holder)).force();
        let (name, patch) = (self.name(), Patch::Apply(lease));
        let write = self.api.patch(&name, &params, &patch);
        match tokio::time::timeout(RENEW, write).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))),
        }
    }
}
