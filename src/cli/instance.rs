//! A running copy of a service as the command line shows it: a `MeshInstance` on a VM, a pod on a cluster. The verbs know no other difference.
pub mod mesh;
pub mod pod;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{exit::Result, target::Connection};
use mesh_api::{
    MeshInstance,
    labels::{APP_MANAGED_BY, MANAGER, SERVICE},
};

/// What stands behind an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// An object of the controllers on a VM.
    MeshInstance,
    /// A pod of a cluster.
    Pod,
}

impl Kind {
    /// As the API writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::MeshInstance => "MeshInstance",
            Self::Pod => "Pod",
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// `ended with exit code 1`.
    pub text: String,
    /// When it had been started.
    pub since: Option<Timestamp>,
    /// When it ended.
    pub at: Option<Timestamp>,
    /// What it left as its last words (a pod's termination message).
    pub message: Option<String>,
}

/// One running copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// What it is made from.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub id: String,
    /// Tells it from another one of the same name.
    pub uid: Option<String>,
    /// The service; of a run of a task the task.
    pub service: String,
    /// It is a run of a task.
    pub is_run: bool,
    /// Its state in one word.
    pub state: String,
    /// Since when it is (not) ready.
    pub since: Option<Timestamp>,
    /// It serves.
    pub ready: bool,
    /// How often its program was started again.
    pub restarts: i32,
    /// Where it answers.
    pub address: Option<String>,
    /// Its process, where that is one of this machine.
    pub pid: Option<i64>,
    /// What runs it.
    pub node: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When its program was started last.
    pub started: Option<Timestamp>,
    /// What is wrong now.
    pub trouble: Option<String>,
    /// How its program ended last.
    pub last_exit: Option<Exit>,
}

impl Instance {
    /// What is wrong; for one that is well, how it ended last.
    pub fn problem(&self) -> Option<String> {
        self.trouble.clone().or_else(|| self.last_exit.as_ref().map(|exit| format!("last run {}", exit.text)))
    }

    /// Its program has ended and waits for its next start.
    pub fn backs_off(&self) -> bool {
        self.state == "BackOff"
    }
}

/// The label selector of the pods that stand for instances.
pub fn pods_of(service: Option<&str>) -> String {
    let service = service.map_or_else(|| SERVICE.to_owned(), |name| format!("{SERVICE}={name}"));
    format!("{service},{APP_MANAGED_BY}={MANAGER}")
}

/// Objects of a kind in a namespace, or in all.
pub fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The instances of the connection's namespace, or of all namespaces.
pub async fn list(connection: &Connection, all_namespaces: bool) -> Result<Vec<Instance>> {
    let namespace = (!all_namespaces).then_some(connection.namespace.as_str());
    let (meshes, pods) = (api::<MeshInstance>(&connection.client, namespace), api::<Pod>(&connection.client, namespace));
    let of_us = ListParams::default().labels(&pods_of(None));
    // Who may read the pods of a cluster need not be one who may read MeshInstances, of which it has none.
    let (meshes, pods) = tokio::try_join!(listed(&meshes, ListParams::default(), &[403, 404]), listed(&pods, of_us, &[404]))?;
    Ok(meshes.iter().map(mesh::instance).chain(pods.iter().map(pod::instance)).collect())
}

/// What there is of a kind; nothing of one that the API does not have (the embedded API has no pods, a cluster may have no `MeshInstances`).
pub async fn listed<K>(api: &Api<K>, params: ListParams, absent: &[u16]) -> Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.list(&params).await {
        Ok(list) => Ok(list.items),
        Err(kube::Error::Api(status)) if absent.contains(&status.code) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whether the API has the kind, for this user.
pub async fn has<K>(api: &Api<K>, absent: &[u16]) -> Result<bool>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if absent.contains(&status.code) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes it: it is drained and ended, and another takes its place.
pub async fn delete(connection: &Connection, instance: &Instance) -> Result {
    let params = DeleteParams::default();
    match instance.kind {
        Kind::MeshInstance => drop(connection.instances().delete(&instance.id, &params).await?),
        Kind::Pod => drop(api::<Pod>(&connection.client, Some(&connection.namespace)).delete(&instance.id, &params).await?),
    }
    Ok(())
}
