//! The agent's own `MeshNode`, and the Lease by which others know that it lives.
use std::time::Duration;

use futures::Future;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Error, api};
use crate::{
    api::{
        GROUP, MeshNode, VERSION,
        conditions::{Want, node as reason},
        labels,
        node::{BackendKind, MeshNodeStatus, PortRange},
    },
    kit::clock,
    plan::leases,
};

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What runs instances here.
    pub backend: BackendKind,
    /// Where their ports come from.
    pub ports: PortRange,
}

const RENEW: Duration = Duration::from_secs(5);

/// The name of a node's Lease.
pub(super) fn lease_name(node: &str) -> String {
    format!("node-{node}")
}

/// Makes the node known; called once before the agent starts.
///
/// # Errors
/// What the API said.
pub async fn register(client: &Client, node: &Node) -> Result<(), Error> {
    renew(client, node).await?;
    let nodes: Api<MeshNode> = Api::all(client.clone());
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    let object = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MeshNode", "metadata": { "name": node.name }, "spec": {} });
    let known = nodes.patch(&node.name, &params, &Patch::Apply(&object)).await.map_err(api("apply MeshNode"))?;
    let old = known.status.unwrap_or_default();
    let ready = Want::new(reason::READY, true, reason::AGENT_READY, "").over(&old.conditions, known.metadata.generation, clock::now());
    let status = MeshNodeStatus {
        backend: Some(node.backend),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ports: Some(node.ports.to_string()),
        conditions: vec![ready],
    };
    let params = PatchParams::apply(labels::STATUS_MANAGER).force();
    let object =
        json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MeshNode", "metadata": { "name": node.name }, "status": status });
    nodes.patch_status(&node.name, &params, &Patch::Apply(&object)).await.map_err(api("apply MeshNode status"))?;
    Ok(())
}

/// Renews the lease until shutdown.
///
/// # Errors
/// None that is not retried.
pub async fn run(client: Client, node: Node, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            () = tokio::time::sleep(RENEW) => {}
        }
        if let Err(error) = renew(&client, &node).await {
            tracing::warn!(%error, "the node's lease could not be renewed; it is tried again");
        }
    }
}

async fn renew(client: &Client, node: &Node) -> Result<(), Error> {
    let all: Api<Lease> = Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE);
    let name = lease_name(&node.name);
    let mut lease = Lease::default();
    lease.metadata.name = Some(name.clone());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(node.name.clone()),
        lease_duration_seconds: Some(leases::DURATION_SECONDS),
        renew_time: Some(MicroTime(clock::now())),
        ..LeaseSpec::default()
    });
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    all.patch(&name, &params, &Patch::Apply(&lease)).await.map_err(api("renew the node's Lease"))?;
    Ok(())
}
