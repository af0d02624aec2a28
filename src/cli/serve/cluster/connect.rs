//! Which cluster: `--kubeconfig`, else the one that this process runs in, else that of `$KUBECONFIG` or `~/.kube/config`. And its first answer.
use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::time::{Instant, sleep, timeout};

use super::{Error, version};
use crate::{
    in_cluster,
    kubeconfig::{of_list, wrong},
};
use mesh_api::labels;
use mesh_kit::backoff::Backoff;

/// At start the API is waited for no longer than this: whoever started this process should learn of it.
const PATIENCE: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(5) };
/// To open a connection, and to answer a small question.
const CALL: Duration = Duration::from_secs(5);

/// A cluster that was found, and where.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) config: Config,
    /// For the user: `--kubeconfig FILE`.
    pub(super) source: String,
    /// The namespace of this process's Pod, if it runs in the cluster.
    pub(super) own_namespace: Option<String>,
}

/// Finds it; reaches nothing yet.
pub(super) async fn find(kubeconfig: Option<&Path>) -> Result<Found, Error> {
    let mut found = match kubeconfig {
        Some(file) => {
            let source = format!("--kubeconfig {}", file.display());
            let read = Kubeconfig::read_from(file).map_err(|error| Error::Kubeconfig { from: source.clone(), text: wrong(&error) })?;
            from(read, source).await?
        }
        None if in_cluster::is_here() => of_pod()?,
        None => {
            let (source, read) = match std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) {
                Some(list) => (format!("$KUBECONFIG {}", list.display()), of_list(&list)),
                None => ("~/.kube/config".to_owned(), Kubeconfig::read().map_err(|error| wrong(&error))),
            };
            let read = read.map_err(|text| Error::Nowhere { from: source.clone(), text })?;
            from(read, source).await?
        }
    };
    found.config.connect_timeout = Some(CALL);
    // Who asks knows when to ask again; kube's own retries of 429, 503 and 504 would hide an API that is away, for minutes in the end.
    found.config.default_retry = false;
    Ok(found)
}

async fn from(kubeconfig: Kubeconfig, source: String) -> Result<Found, Error> {
    let failed = |error: kube::config::KubeconfigError| Error::Kubeconfig { from: source.clone(), text: wrong(&error) };
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?;
    Ok(Found { config, source, own_namespace: None })
}

fn of_pod() -> Result<Found, Error> {
    let config = in_cluster::config().map_err(Error::InCluster)?;
    let own_namespace = Some(config.default_namespace.clone());
    Ok(Found { config, source: "the cluster that this Pod runs in".to_owned(), own_namespace })
}

impl Found {
    /// The namespace of what belongs to the mesh itself.
    pub(super) fn system_namespace(&self, asked: Option<String>) -> String {
        asked.or_else(|| self.own_namespace.clone()).unwrap_or_else(|| labels::SYSTEM_NAMESPACE.to_owned())
    }

    /// Waits for the API's first answer, which says whether it is new enough.
    pub(super) async fn reach(&self, client: &Client) -> Result<(), Error> {
        let (deadline, mut failures) = (Instant::now() + PATIENCE, 1);
        loop {
            let text = match timeout(CALL, client.apiserver_version()).await {
                Ok(Ok(info)) => return version::trouble(&info.major, &info.minor).map_or(Ok(()), |text| Err(Error::TooOld(text))),
                Ok(Err(error)) => crate::exit::Failure::from(error).text(),
                Err(_) => format!("no answer in {} s", CALL.as_secs()),
            };
            failures += 1;
            let wait = BACKOFF.delay(failures, rand::random());
            if Instant::now() + wait > deadline {
                return Err(Error::Unreachable { address: self.config.cluster_url.to_string(), from: self.source.clone(), text });
            }
            tracing::warn!(api = %self.config.cluster_url, error = text, "the cluster's API does not answer; it is tried again");
            sleep(wait).await;
        }
    }
}
