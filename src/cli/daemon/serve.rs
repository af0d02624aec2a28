//! The controller process, until a signal ends it. Instances go on running, and the next one adopts them.
use std::{net::SocketAddr, time::Duration};

use clap::Args;

use super::flags::{ClusterArgs, MachineArgs};
use crate::{
    address::address,
    backend::{BackendArgs, BackendFlag},
    exit::{Code, Failure, Result},
    lifetime::{self, LogArgs},
    serve::{self, Serving, cluster},
    signals::Signals,
};
use mesh_kit::{metrics::Metrics, shutdown::Shutdown, systemd};
use mesh_router::listener::passed::Passed;

/// How long tasks may take to end after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Where and how the controller runs.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, value_parser = address, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    pub(super) log: LogArgs,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Serve {
    /// Runs until a signal, with the sockets that systemd passed.
    pub(super) async fn run(self, passed: Passed) -> Result {
        match self.backend.backend {
            BackendFlag::Process | BackendFlag::Podman | BackendFlag::Quadlet => Box::pin(self.run_here(passed)).await,
            BackendFlag::Kubernetes => Box::pin(self.run_in_cluster()).await,
        }
    }

    async fn run_here(self, passed: Passed) -> Result {
        let mut signals = Signals::new()?;
        let (shutdown, mut supervisor) = Shutdown::new();
        let options = self.machine.options(&self.backend, &self.cluster, self.admin_listen)?;
        let Serving { api, router, admin, kubeconfig, ready, .. } = serve::start(options, passed, &shutdown).await?;
        tracing::info!(%api, %router, %admin, kubeconfig = %kubeconfig.display(), version = env!("CARGO_PKG_VERSION"), "started");
        lifetime::tell_when_ready(ready, format!("API {api}, router {router}, admin {admin}"), &shutdown);
        let death = tokio::select! {
            _ = signals.next() => None,
            death = supervisor.death() => Some(death),
        };
        if kubeconfig.exists() {
            tracing::info!("ending; instances go on running");
        } else {
            tracing::warn!("ending; the state directory is gone, and plain processes, which hold theirs in it, end with it");
        }
        lifetime::end(supervisor, &mut signals, death, GRACE).await
    }

    async fn run_in_cluster(self) -> Result {
        let mut signals = Signals::new()?;
        let (shutdown, mut supervisor) = Shutdown::new();
        let options = self.cluster.options(&self.backend, &self.machine)?;
        let (listener, admin) = serve::listen(self.admin_listen, "admin endpoints", "--admin-listen").await?;
        let started = tokio::select! {
            started = cluster::start(options, listener, Metrics::default(), &shutdown) => Some(started?),
            _ = signals.next() => None,
        };
        let mut death = None;
        if let Some(api) = started {
            tracing::info!(api, %admin, version = env!("CARGO_PKG_VERSION"), "started");
            systemd::ready(&format!("cluster {api}, admin {admin}"));
            tokio::select! {
                _ = signals.next() => {}
                dead = supervisor.death() => death = Some(dead),
            }
        }
        tracing::info!("ending; what runs in the cluster goes on running");
        lifetime::end(supervisor, &mut signals, death, GRACE).await
    }
}

impl From<cluster::Error> for Failure {
    fn from(error: cluster::Error) -> Self {
        let code = match &error {
            cluster::Error::TooOld(_) => Code::Failed,
            cluster::Error::Kubeconfig { .. }
            | cluster::Error::Nowhere { .. }
            | cluster::Error::InCluster(_)
            | cluster::Error::Client { .. }
            | cluster::Error::Unreachable { .. } => Code::Unreachable,
        };
        Self { code, error: Some(error.into()) }
    }
}

impl From<serve::Error> for Failure {
    fn from(error: serve::Error) -> Self {
        let code = match &error {
            serve::Error::OpenStore(mesh_store::Error::LockedBy { .. }) => Code::Conflict,
            _ => Code::Failed,
        };
        Self { code, error: Some(error.into()) }
    }
}
