//! `mesh-controller`: the controller process, until a signal ends it. Instances go on running, and the next one adopts them.
pub(super) mod flags;

use std::{net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand};
use tokio::sync::watch;

use self::flags::{ClusterArgs, MachineArgs};
use super::{
    backend::{BackendArgs, BackendFlag},
    crd::Crd,
    exit::{Code, Failure, Result},
    install::{Install, Uninstall},
    ready::Ready,
    router::Router,
    serve::{self, Serving, cluster},
    signals::Signals,
};
use crate::{
    kit::{
        metrics::Metrics,
        shutdown::{Shutdown, Supervisor},
        systemd,
        telemetry::LogFormat,
    },
    router::listener::passed::Passed,
};

/// How long tasks may take to end after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Runs what MeshServices declare: API, controllers, node agent and router in one process.
#[derive(Debug, Parser)]
#[command(name = "mesh-controller", version, after_help = super::EXIT_CODES, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Daemon {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the controller (the same as without a verb).
    Run(Serve),
    /// Run the router alone, for another API or for files.
    Router(Router),
    /// Make the controller a service of systemd: write its units, enable and start them.
    Install(Box<Install>),
    /// Take those units away; state and instances stay.
    Uninstall(Uninstall),
    /// Print the CustomResourceDefinitions as YAML.
    Crd(Crd),
    /// Ask admin ports whether what is behind them is ready.
    Ready(Ready),
}

/// Where and how the controller runs.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) backend: BackendArgs,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
    /// How the controller's own log looks.
    #[arg(long, env = "MESH_LOG_FORMAT", value_enum, default_value = "auto")]
    log_format: LogFormat,
    /// What of it is written: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, env = "MESH_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    log_level: String,
    #[command(flatten)]
    pub(super) machine: MachineArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

impl Daemon {
    /// How the process logs.
    pub fn telemetry(&self) -> (LogFormat, String) {
        let serve = match &self.verb {
            Some(Verb::Run(serve)) => serve,
            Some(Verb::Router(router)) => return router.telemetry(),
            Some(Verb::Crd(_) | Verb::Ready(_) | Verb::Install(_) | Verb::Uninstall(_)) | None => &self.serve,
        };
        (serve.log_format, serve.log_level.clone())
    }

    /// Does what was asked for, with the sockets that systemd passed.
    pub async fn run(self, passed: Passed) -> Result {
        match self.verb {
            Some(Verb::Crd(crd)) => crd.run(),
            Some(Verb::Ready(ready)) => ready.run().await,
            Some(Verb::Router(router)) => Box::pin(router.run(passed)).await,
            Some(Verb::Install(install)) => install.run(),
            Some(Verb::Uninstall(uninstall)) => uninstall.run(),
            Some(Verb::Run(serve)) => Box::pin(serve.run(passed)).await,
            None => Box::pin(self.serve.run(passed)).await,
        }
    }
}

impl Serve {
    async fn run(self, passed: Passed) -> Result {
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
        tell_when_ready(ready, format!("API {api}, router {router}, admin {admin}"), &shutdown);
        let death = tokio::select! {
            _ = signals.next() => None,
            death = supervisor.death() => Some(death),
        };
        tracing::info!("ending; instances go on running");
        end(supervisor, &mut signals, death, GRACE).await
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
        end(supervisor, &mut signals, death, GRACE).await
    }
}

/// Tells the service manager once the router knows where requests go.
pub(super) fn tell_when_ready(mut ready: watch::Receiver<bool>, status: String, shutdown: &Shutdown) {
    let end = shutdown.triggered();
    shutdown.spawn_work(async move {
        tokio::select! {
            known = ready.wait_for(|ready| *ready) => if known.is_ok() { systemd::ready(&status) },
            () = end => {}
        }
    });
}

/// Ends all tasks, after a signal or because one of them died.
pub(super) async fn end(supervisor: Supervisor, signals: &mut Signals, death: Option<String>, grace: Duration) -> Result {
    systemd::stopping();
    let ended = tokio::select! {
        ended = supervisor.finish(grace) => ended,
        // A second signal does not wait.
        _ = signals.next() => false,
    };
    match death {
        Some(death) => Err(Failure::new(Code::Failed, format!("a part of this process ended: {death}"))),
        None if ended => Ok(()),
        None => Err(Failure::new(Code::Failed, "ended before all its tasks had; instances go on running")),
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
            serve::Error::OpenStore(crate::store::Error::LockedBy { .. }) => Code::Conflict,
            _ => Code::Failed,
        };
        Self { code, error: Some(error.into()) }
    }
}
