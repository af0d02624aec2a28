//! Fetches what a service's reconcile looks at, live: its instances with their slices and its revisions, the nodes, and the services that may claim its routes.
use k8s_openapi::api::{apps::v1::ControllerRevision, discovery::v1::EndpointSlice};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    Error, api, our_slices,
    placement::{self, Nodes},
};
use mesh_api::{MeshInstance, MeshService, labels};
use mesh_plan::{
    endpoints::Announced,
    routes::{self, Claim},
};

/// What was found.
pub(super) struct World {
    /// The service's instances, those being ended included.
    pub(super) instances: Vec<MeshInstance>,
    /// Those of them that routers have been told of.
    pub(super) announced: Announced,
    /// Its revisions.
    pub(super) revisions: Vec<ControllerRevision>,
    /// Where an instance can be placed.
    pub(super) nodes: Nodes,
    /// A claim that an older service has, and that service's name.
    pub(super) conflict: Option<(Claim, String)>,
}

impl World {
    /// The node with the fewest instances of this service.
    pub(super) fn node_for_next(&self, placed: &[String]) -> Option<&String> {
        self.nodes.least(self.instances.iter().map(|instance| &instance.spec.node_name).chain(placed))
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
    let nodes = placement::nodes(client).await?;
    let conflict = conflict(client, service).await?;
    Ok(World { instances, announced, revisions, nodes, conflict })
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

async fn conflict(client: &Client, service: &MeshService) -> Result<Option<(Claim, String)>, Error> {
    if routes::claims(&service.spec).is_empty() {
        return Ok(None);
    }
    let all = Api::<MeshService>::all(client.clone()).list(&ListParams::default()).await.map_err(api("list MeshServices"))?.items;
    let found = routes::conflict(service, &all);
    Ok(found.map(|(claim, other)| (claim, format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any()))))
}
