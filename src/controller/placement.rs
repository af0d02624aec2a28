//! The nodes, and which of them an instance is placed on.
use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{Error, api, node::lease_name};
use mesh_api::{
    MeshNode,
    conditions::{is_true, node::READY, service::NO_NODE},
    labels,
    node::BackendKind,
};
use mesh_kit::clock;
use mesh_plan::{leases, validate::Refusal};

/// The nodes as far as placing is concerned.
pub(super) struct Nodes {
    /// Names of those that can take an instance.
    usable: Vec<String>,
    backend: Option<BackendKind>,
    /// Why one of them is not ready.
    trouble: Option<String>,
}

impl Nodes {
    /// The backend of the nodes; plain processes while there is no node.
    pub(super) fn backend(&self) -> BackendKind {
        self.backend.unwrap_or(BackendKind::Process)
    }

    /// Why nothing can be made, if there is no node for it.
    pub(super) fn none(&self) -> Option<Refusal> {
        let why = self.trouble.as_deref().unwrap_or("see kubectl get meshnodes");
        self.usable.is_empty().then(|| Refusal { reason: NO_NODE, message: format!("no MeshNode is ready to run instances: {why}") })
    }

    /// The one with the fewest of what is placed already: on these nodes.
    pub(super) fn least<'a>(&self, placed: impl IntoIterator<Item = &'a String>) -> Option<&String> {
        let mut load: BTreeMap<&String, usize> = BTreeMap::new();
        for node in placed {
            *load.entry(node).or_default() += 1;
        }
        self.usable.iter().min_by_key(|node| load.get(node).copied().unwrap_or_default())
    }
}

/// Looks at all nodes.
pub(super) async fn nodes(client: &Client) -> Result<Nodes, Error> {
    let nodes = Api::<MeshNode>::all(client.clone()).list(&ListParams::default()).await.map_err(api("list MeshNodes"))?.items;
    let all: Api<Lease> = Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE);
    let leases = all.list(&ListParams::default()).await.map_err(api("list Leases"))?.items;
    let now = clock::now();
    let lives = |node: &MeshNode| {
        let name = lease_name(&node.name_any());
        leases.iter().any(|lease| lease.name_any() == name && leases::holder(lease, now).is_some())
    };
    let ready = |node: &MeshNode| node.status.as_ref().is_some_and(|status| is_true(&status.conditions, READY));
    let usable: Vec<&MeshNode> = nodes.iter().filter(|node| ready(node) && !node.spec.unschedulable && lives(node)).collect();
    let backend = nodes.iter().find_map(|node| node.status.as_ref()?.backend);
    let trouble = nodes.iter().find_map(|node| {
        let unready = node.status.as_ref()?.conditions.iter().find(|c| c.type_ == READY && c.status != "True")?;
        Some(format!("{}: {}", node.name_any(), unready.message))
    });
    Ok(Nodes { usable: usable.iter().map(|node| node.name_any()).collect(), backend, trouble })
}
