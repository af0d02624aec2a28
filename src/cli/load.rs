//! Manifests, checked and completed by the embedded API in memory: the same refusals, by file and line, that `mesh apply` would give.
use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;

use crate::{
    apply::{How, Told, apply_all},
    exit::{Code, Failure, Result},
    manifest::{self, Document},
    serve::admission::admission,
    target::Connection,
};
use mesh_api::{MeshService, MeshTask};
use mesh_apiserver::{ApiServer, Options};
use mesh_controllers::bootstrap;
use mesh_kit::shutdown::Shutdown;
use mesh_plan::environment::Sources;
use mesh_store::Store;

/// What the manifests say, with defaults filled in.
pub(crate) struct Loaded {
    /// In the order of namespace and name.
    pub(crate) services: Vec<MeshService>,
    /// In the order of namespace and name.
    pub(crate) tasks: Vec<MeshTask>,
    /// By namespace.
    sources: BTreeMap<String, Sources>,
    documents: Vec<Document>,
}

impl Loaded {
    /// Reads files. Objects without a namespace are put into `namespace`.
    pub(crate) async fn read(files: &[PathBuf], namespace: Option<String>) -> Result<Self> {
        Self::of(manifest::read(files)?, namespace.unwrap_or_else(|| "default".to_owned())).await
    }

    /// Has documents checked.
    pub(crate) async fn of(documents: Vec<Document>, namespace: String) -> Result<Self> {
        let (shutdown, _supervisor) = Shutdown::new();
        let client = checked(&documents, namespace, &shutdown).await?;
        let loaded = Self { services: list(&client).await?, tasks: list(&client).await?, sources: sources(&client).await?, documents };
        if loaded.services.is_empty() && loaded.tasks.is_empty() {
            return Err(Failure::new(
                Code::Invalid,
                "there is neither a MeshService nor a MeshTask in the manifests: `mesh init` writes an example",
            ));
        }
        Ok(loaded)
    }

    /// The objects that a service of that namespace can refer to.
    pub(crate) fn sources(&self, namespace: &str) -> Sources {
        self.sources.get(namespace).cloned().unwrap_or_default()
    }

    /// Titles of documents that are neither services or tasks nor what these refer to.
    pub(crate) fn others(&self) -> Vec<String> {
        let known = |document: &Document| {
            document.is_service() || document.is_task() || ["ConfigMap", "Secret"].contains(&document.gvk.kind.as_str())
        };
        self.documents.iter().filter(|document| !known(document)).map(Document::title).collect()
    }

    /// `mesh.yaml:12: MeshService api: spec.image: …` for something that is wrong with a field of a service or a task.
    pub(crate) fn complaint<K: Resource<DynamicType = ()>>(&self, of: &K, text: &str) -> Failure {
        let document = self.documents.iter().find(|document| document.is::<K>() && document.name() == of.name_any());
        let place = document.map(|document| {
            let field = text.split([':', ' ']).next().unwrap_or_default();
            // Where a list is named by its key, the list is as near as lines go.
            let field = field.split("[name=").next().unwrap_or(field);
            format!("{}:{}: {}: ", document.file, document.lines.of(field), document.title())
        });
        Failure::new(Code::Invalid, format!("{}{text}", place.unwrap_or_default()))
    }
}

/// Whether an API would take all documents.
///
/// # Errors
/// Everything that it would refuse, by file and line.
pub(crate) async fn check(documents: &[Document], namespace: &str) -> Result {
    let (shutdown, _supervisor) = Shutdown::new();
    checked(documents, namespace.to_owned(), &shutdown).await.map(drop)
}

/// An API in memory that has taken all documents; it ends with `shutdown`.
async fn checked(documents: &[Document], namespace: String, shutdown: &Shutdown) -> Result<Client> {
    let internal = |error: &dyn std::fmt::Display| Failure::new(Code::Failed, format!("checking the manifests: {error}"));
    let store = Store::memory().map_err(|error| internal(&error))?;
    let server = ApiServer::start(store, Options { admission: admission(), ..Options::default() }, shutdown)
        .await
        .map_err(|error| internal(&error))?;
    let client = Client::new(server.service(), &namespace);
    bootstrap::bootstrap(&client).await.map_err(|error| internal(&error))?;
    namespaces(&client, documents, &namespace).await?;
    let connection = Connection { client: client.clone(), namespace };
    apply_all(&connection, documents, How::default(), Told::Nobody).await.map_err(|failure| match failure.code {
        Code::Partial => Failure { code: Code::Invalid, ..failure },
        _ => failure,
    })?;
    Ok(client)
}

/// Makes the namespaces that the documents are in.
async fn namespaces(client: &Client, documents: &[Document], default: &str) -> Result {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let named = documents.iter().filter_map(|document| document.object.metadata.namespace.as_deref()).chain([default]);
    for name in named {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        match namespaces.create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            other => drop(other.map_err(Failure::from).map_err(|failure| failure.context(format!("namespace {name:?}")))?),
        }
    }
    Ok(())
}

async fn list<K>(client: &Client) -> Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut items = Api::<K>::all(client.clone()).list(&ListParams::default()).await?.items;
    items.sort_by_key(|item| (item.namespace(), item.name_any()));
    Ok(items)
}

async fn sources(client: &Client) -> Result<BTreeMap<String, Sources>> {
    let mut sources: BTreeMap<String, Sources> = BTreeMap::new();
    for map in list::<ConfigMap>(client).await? {
        sources.entry(map.namespace().unwrap_or_default()).or_default().config_maps.insert(map.name_any(), map);
    }
    for secret in list::<Secret>(client).await? {
        sources.entry(secret.namespace().unwrap_or_default()).or_default().secrets.insert(secret.name_any(), secret);
    }
    Ok(sources)
}
