//! Fetches what a service's reconcile looks at, live: its instances with their slices and its revisions, the nodes, and the services that may claim its routes.
use k8s_openapi::api::{apps::v1::ControllerRevision, coordination::v1::Lease, discovery::v1::EndpointSlice};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{Error, api, node::lease_name, our_slices};
use mesh_api::{
    MeshInstance, MeshNode, MeshService,
    conditions::{is_true, node::READY, service::NO_NODE},
    labels,
    node::BackendKind,
};
use mesh_kit::clock;
use mesh_plan::{
    endpoints::Announced,
    leases,
    routes::{self, Claim},
    validate::Refusal,
};

/// What was found.
pub(super) struct World {
    /// The service's instances, those being ended included.
    pub(super) instances: Vec<MeshInstance>,
    /// Those of them that routers have been told of.
    pub(super) announced: Announced,
    /// Its revisions.
    pub(super) revisions: Vec<ControllerRevision>,
    /// Names of the nodes that can take an instance.
    pub(super) nodes: Vec<String>,
    /// Why a node is not ready.
    trouble: Option<String>,
    /// The backend of the nodes.
    backend: Option<BackendKind>,
    /// A claim that an older service has, and that service's name.
    pub(super) conflict: Option<(Claim, String)>,
}

impl World {
    /// The backend of the nodes; plain processes while there is no node.
    pub(super) fn backend(&self) -> BackendKind {
        self.backend.unwrap_or(BackendKind::Process)
    }

    /// Why nothing can be made, if there is no node for it.
    pub(super) fn no_node(&self) -> Option<Refusal> {
        let why = self.trouble.as_deref().unwrap_or("see kubectl get meshnodes");
        self.nodes.is_empty().then(|| Refusal { reason: NO_NODE, message: format!("no MeshNode is ready to run instances: {why}") })
    }

    /// The node with the fewest instances of this service.
    pub(super) fn node_for_next(&self, placed: &[String]) -> Option<&String> {
        let load = |node: &&String| {
            self.instances.iter().map(|instance| &instance.spec.node_name).chain(placed).filter(|name| name == node).count()
        };
        self.nodes.iter().min_by_key(load)
    }
}

/// Fetches it.
pub(super) async fn dereference(client: &Client, service: &MeshService) -> Result<World, Error> {
    let namespace = service.namespace().unwrap_or_default();
    let own = ListParams::default().labels(&format!("{}={}", labels::SERVICE, service.name_any()));
    let instances: Api<MeshInstance> = Api::namespaced(client.clone(), &namespace);
    let instances = instances.list(&own).await.map_err(api("list MeshInstances"))?.items;
    let announced = announced(client, &namespace, service, &instances).await?;
    let revisions: Api<ControllerRevision> = Api::namespaced(client.clone(), &namespace);
    let revisions = revisions.list(&own).await.map_err(api("list ControllerRevisions"))?.items;
    let Nodes { usable: nodes, backend, trouble } = nodes(client).await?;
    let conflict = conflict(client, service).await?;
    Ok(World { instances, announced, revisions, nodes, trouble, backend, conflict })
}

async fn announced(client: &Client, namespace: &str, service: &MeshService, instances: &[MeshInstance]) -> Result<Announced, Error> {
    // Workers have no slices.
    if !instances.iter().any(|instance| instance.spec.serves) {
        return Ok(Announced::default());
    }
    let own = ListParams::default().labels(&format!("{},{}={}", our_slices(), labels::SLICE_SERVICE, service.name_any()));
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    Ok(Announced::of(&slices.list(&own).await.map_err(api("list EndpointSlices"))?.items))
}

struct Nodes {
    usable: Vec<String>,
    backend: Option<BackendKind>,
    trouble: Option<String>,
}

async fn nodes(client: &Client) -> Result<Nodes, Error> {
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

async fn conflict(client: &Client, service: &MeshService) -> Result<Option<(Claim, String)>, Error> {
    if routes::claims(&service.spec).is_empty() {
        return Ok(None);
    }
    let all = Api::<MeshService>::all(client.clone()).list(&ListParams::default()).await.map_err(api("list MeshServices"))?.items;
    let found = routes::conflict(service, &all);
    Ok(found.map(|(claim, other)| (claim, format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any()))))
}
