//! Fetches what a task's reconcile looks at, live: its runs, the service that it needs, the nodes.
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    Error, api,
    placement::{self, Nodes},
};
use mesh_api::{MeshInstance, MeshService, MeshTask, labels};
use mesh_plan::task;

/// What was found.
pub(super) struct World {
    /// Its runs, newest first.
    pub(super) runs: Vec<MeshInstance>,
    /// The service that it needs, if that is there.
    pub(super) service: Option<MeshService>,
    /// Where a run can be placed.
    pub(super) nodes: Nodes,
}

/// Fetches it.
pub(super) async fn dereference(client: &Client, task: &MeshTask) -> Result<World, Error> {
    let namespace = task.namespace().unwrap_or_default();
    let own = ListParams::default().labels(&format!("{}={}", labels::TASK, task.name_any()));
    let instances: Api<MeshInstance> = Api::namespaced(client.clone(), &namespace);
    let runs = instances.list(&own).await.map_err(api("list the runs of MeshTask"))?.items;
    let (service, nodes) = (service(client, task).await?, placement::nodes(client).await?);
    Ok(World { runs: task::newest_first(runs), service, nodes })
}

/// The service that a task needs, if it needs one and that is there.
pub(crate) async fn service(client: &Client, task: &MeshTask) -> Result<Option<MeshService>, Error> {
    let services: Api<MeshService> = Api::namespaced(client.clone(), &task.namespace().unwrap_or_default());
    match task::service_of(task) {
        Some(name) => services.get_opt(name).await.map_err(api("read MeshService")),
        None => Ok(None),
    }
}
