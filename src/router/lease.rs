//! The Lease that says "this router lives": agents wait for the drain reports of routers that hold one, and for no others.
//! It is there before the router sends an instance anything, and given back after the last request.
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    api::labels::{ROUTER_LEASE, SYSTEM_NAMESPACE},
    kit::clock,
};

/// After so long without renewal the router counts as dead.
const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);

/// The Lease of one router process.
#[derive(Debug, Clone)]
pub struct RouterLease {
    api: Api<Lease>,
    /// The process.
    holder: String,
    /// The `MeshRouter` it serves for.
    router: String,
}

impl RouterLease {
    /// Not taken yet.
    pub fn new(client: Client, holder: &str, router: &str) -> Self {
        Self { api: Api::namespaced(client, SYSTEM_NAMESPACE), holder: holder.to_owned(), router: router.to_owned() }
    }

    fn name(&self) -> String {
        format!("router-{}", self.holder)
    }

    /// Takes it, however long that needs.
    pub async fn take(&self) {
        while let Err(error) = self.write().await {
            tracing::warn!(lease = self.name(), %error, "router: take the lease");
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews it for as long as it is polled.
    pub async fn renew(&self) {
        let mut wait = RENEW;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.write().await {
                Ok(()) => RENEW,
                Err(error) => {
                    tracing::warn!(lease = self.name(), %error, "router: renew the lease");
                    RETRY
                }
            };
        }
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
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.name(), "namespace": SYSTEM_NAMESPACE, "labels": { ROUTER_LEASE: self.router } },
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": DURATION.as_secs(),
                "renewTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(clock::now()),
            },
        });
        let params = PatchParams::apply(&format!("mesh-router/{}", self.holder)).force();
        let (name, patch) = (self.name(), Patch::Apply(lease));
        let write = self.api.patch(&name, &params, &patch);
        match tokio::time::timeout(RENEW, write).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))),
        }
    }
}
