//! Where a router learns of services and endpoints: a kubeconfig, the cluster that it runs in, or files.
use std::path::{Path, PathBuf};

use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::files::Files;
use crate::{
    exit::{Code, Failure, Result},
    in_cluster,
    kubeconfig::wrong,
};
use mesh_api::labels::SYSTEM_NAMESPACE;
use mesh_kit::{metrics::Metrics, shutdown::Shutdown};

/// The namespace of a pod, as its service account's volume says it.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Where it learns of services and endpoints; without any of these, of the cluster that it runs in.
#[derive(Debug, Args)]
#[group(required = false, multiple = false)]
pub(super) struct Source {
    /// The kubeconfig of the API: that of a mesh-controller elsewhere, or of a cluster [default: the cluster that it runs in].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Files (or directories of them) with MeshService, EndpointSlice, MeshRouter and Secret objects; SIGHUP reads them again.
    #[arg(long, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
}

/// What it reads from.
pub(super) struct Opened {
    pub(super) client: Client,
    /// If the API is made of files.
    pub(super) files: Option<Files>,
    /// The system namespace.
    pub(super) namespace: String,
}

impl Source {
    /// A client of the API; and the files, if it is made of files.
    pub(super) async fn open(self, namespace: Option<String>, metrics: &Metrics, shutdown: &Shutdown) -> Result<Opened> {
        if !self.from.is_empty() {
            let files = Files::open(self.from, metrics, shutdown).await?;
            return Ok(Opened { client: files.client(), files: Some(files), namespace: SYSTEM_NAMESPACE.to_owned() });
        }
        let mut config = match &self.kubeconfig {
            Some(file) => of_kubeconfig(file).await?,
            None => of_cluster()?,
        };
        // Its watches and its Lease have their own pauses; kube's retries of 429, 503 and 504 go on for minutes, and say nothing.
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| Failure::new(Code::Unreachable, format!("the API: {error}")))?;
        let namespace = namespace.filter(|namespace| !namespace.is_empty()).or_else(own_namespace);
        Ok(Opened { client, files: None, namespace: namespace.unwrap_or_else(|| SYSTEM_NAMESPACE.to_owned()) })
    }
}

async fn of_kubeconfig(file: &Path) -> Result<Config> {
    let failed = |error| Failure::new(Code::Unreachable, format!("--kubeconfig {}: {}", file.display(), wrong(&error)));
    let kubeconfig = Kubeconfig::read_from(file).map_err(failed)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)
}

fn of_cluster() -> Result<Config> {
    if !in_cluster::is_here() {
        let what = "where are the services? --kubeconfig FILE follows an API, --from FILE|DIR reads files; without both it must run in a pod of a cluster";
        return Err(Failure::new(Code::Usage, format!("{what} ({} is not set)", in_cluster::VARIABLE)));
    }
    in_cluster::config().map_err(|text| Failure::new(Code::Unreachable, text))
}

/// The namespace of this pod.
fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string(OWN_NAMESPACE).ok()?;
    Some(text.trim().to_owned()).filter(|namespace| !namespace.is_empty())
}
