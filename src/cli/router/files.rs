//! The objects of files as an API: the embedded one, in memory. It holds what the files say and nothing else; reading them again adds, changes and removes.
//! All of it is checked before any of it is changed.
mod check;

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::{
    apply::{How, Told, apply_all},
    exit::{Code, Failure, Result},
    manifest::{self, Document},
    resource::api_of,
    serve,
    target::Connection,
};
use mesh_apiserver::{self as apiserver, ApiServer};
use mesh_controllers::bootstrap::bootstrap;
use mesh_kit::{metrics::Metrics, shutdown::Shutdown};
use mesh_store::{self as store, Store};

/// Files, and the API that holds what they say.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    connection: Connection,
    /// What they said when they were read last.
    applied: Vec<Document>,
}

impl Files {
    /// Starts the API and reads the files for the first time.
    pub(super) async fn open(paths: Vec<PathBuf>, metrics: &Metrics, shutdown: &Shutdown) -> Result<Self> {
        if paths.iter().any(|path| path.as_os_str() == "-") {
            return Err(Failure::new(Code::Usage, "--from -: standard input cannot be read again at SIGHUP; name a file"));
        }
        let metrics = || Some(metrics.clone());
        let store = Store::memory_with(&store::Options { metrics: metrics(), ..store::Options::default() }).map_err(serve::Error::from)?;
        let options = apiserver::Options { metrics: metrics(), ..apiserver::Options::default() };
        let server = ApiServer::start(store, options, shutdown).await.map_err(serve::Error::from)?;
        let client = Client::new(server.service(), "default");
        bootstrap(&client).await.map_err(serve::Error::from)?;
        let mut files = Self { paths, connection: Connection { client, namespace: "default".to_owned() }, applied: Vec::new() };
        files.load().await?;
        Ok(files)
    }

    /// A client of the API.
    pub(super) fn client(&self) -> Client {
        self.connection.client.clone()
    }

    /// Reads the files, and makes the API hold what they say.
    pub(super) async fn load(&mut self) -> Result {
        let documents = check::checked(manifest::read(&self.paths)?)?;
        self.make_namespaces(&documents).await?;
        self.apply(&documents, true).await?;
        for document in documents.iter().filter(|document| is_default(document) && !is_in(document, &self.applied)) {
            // One that was made when the API began: nothing of it is to stay.
            self.delete(document).await?;
        }
        self.apply(&documents, false).await?;
        for document in self.applied.iter().rev().filter(|document| !is_in(document, &documents)) {
            self.delete(document).await?;
        }
        self.applied = documents;
        Ok(bootstrap(&self.connection.client).await.map_err(serve::Error::from)?)
    }

    async fn apply(&self, documents: &[Document], dry_run: bool) -> Result {
        apply_all(&self.connection, documents, How { force: true, dry_run, ..How::default() }, Told::Nobody).await
    }

    async fn make_namespaces(&self, documents: &[Document]) -> Result {
        let namespaces: Api<Namespace> = Api::all(self.connection.client.clone());
        for name in documents.iter().filter_map(|document| document.object.metadata.namespace.as_deref()) {
            let mut namespace = Namespace::default();
            namespace.metadata.name = Some(name.to_owned());
            match namespaces.create(&PostParams::default(), &namespace).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(Failure::from(error).context(format!("namespace {name}"))),
            }
        }
        Ok(())
    }

    async fn delete(&self, document: &Document) -> Result {
        let (api, _) = api_of(&self.connection, document).await?;
        match api.delete(document.name(), &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Failure::from(error).context(format!("{}: remove {}", document.place(), document.title()))),
        }
    }
}

/// Whether a default of it is made when the API begins.
fn is_default(document: &Document) -> bool {
    matches!(document.gvk.kind.as_str(), "Secret" | "MeshRouter")
}

fn is_in(document: &Document, all: &[Document]) -> bool {
    all.iter().any(|other| check::identity(other) == check::identity(document))
}
