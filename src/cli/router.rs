//! `mesh-controller router`: the router alone, for the API that a kubeconfig names, or for files. With files there is an API too: the embedded one, in memory
//! and without a socket, so that the router is the same in both cases.
mod files;

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::watch;

use self::files::Files;
use super::{
    daemon,
    exit::{Code, Failure, Result},
    serve::{self, ROUTER_GRACE, admin},
    signals::{Asked, Signals},
};
use crate::{
    api::labels::DEFAULT_ROUTER,
    kit::{metrics::Metrics, shutdown::Shutdown, systemd, telemetry::LogFormat},
    router::{
        self,
        listener::{self, passed::Passed},
    },
};

/// Run the router alone, for another API or for files.
#[derive(Debug, Args)]
pub struct Router {
    #[command(flatten)]
    source: Source,
    /// Its name: that of its Lease, unlike those of all other routers of that API [default: the hostname and -router].
    #[arg(long, env = "MESH_ROUTER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// The MeshRouter in mesh-system whose settings it takes.
    #[arg(long = "router", env = "MESH_ROUTER", value_name = "NAME", default_value = DEFAULT_ROUTER)]
    settings: String,
    /// Where it listens, unless a .socket unit of systemd passes its sockets.
    #[arg(long = "router-listen", env = "MESH_ROUTER_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
    /// How its own log looks.
    #[arg(long, env = "MESH_LOG_FORMAT", value_enum, default_value = "auto")]
    log_format: LogFormat,
    /// What of it is written: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, env = "MESH_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    log_level: String,
}

/// Where it learns of services and endpoints.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// The kubeconfig of the API: that of a mesh-controller elsewhere, or of a cluster.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Files (or directories of them) with MeshService, EndpointSlice, MeshRouter and Secret objects; SIGHUP reads them again.
    #[arg(long, value_name = "FILE|DIR")]
    from: Vec<PathBuf>,
}

impl Router {
    /// How the process logs.
    pub(super) fn telemetry(&self) -> (LogFormat, String) {
        (self.log_format, self.log_level.clone())
    }

    /// Routes until a signal.
    pub(super) async fn run(self, passed: Passed) -> Result {
        let mut signals = Signals::new()?;
        let (shutdown, mut supervisor) = Shutdown::new();
        let metrics = Metrics::default();
        let (admin_listener, admin) = serve::listen(self.admin_listen, "admin endpoints", "--admin-listen").await?;
        let listeners = listener::open(self.listen, serve::workers(), passed).map_err(serve::Error::from)?;
        let address = serve::local_address(&listeners, self.listen);
        let (client, mut files) = self.source.open(&metrics, &shutdown).await?;

        let (synced, ready) = watch::channel(false);
        let name = self.name.unwrap_or_else(|| format!("{}-router", daemon::hostname()));
        let options = router::RouterOptions { name, router: self.settings, grace: ROUTER_GRACE };
        shutdown.spawn("router", router::run(options, client, listeners, metrics.clone(), shutdown.clone(), synced));
        shutdown.spawn("admin", admin::run(admin_listener, metrics, None, ready.clone(), shutdown.clone()));
        let status = format!("router {address}, admin {admin}");
        tracing::info!(router = %address, %admin, version = env!("CARGO_PKG_VERSION"), "started");
        daemon::tell_when_ready(ready, status.clone(), &shutdown);
        let death = loop {
            let asked = tokio::select! {
                asked = signals.asked() => asked,
                death = supervisor.death() => break Some(death),
            };
            match (asked, &mut files) {
                (Asked::Hangup, Some(files)) => reload(files, &status).await,
                (Asked::Hangup | Asked::End(_), _) => break None,
            }
        };
        tracing::info!("ending");
        daemon::end(supervisor, &mut signals, death).await
    }
}

/// Reads the files again. What was good stays in force if they are not.
async fn reload(files: &mut Files, status: &str) {
    systemd::reloading();
    match files.load().await {
        Ok(()) => {
            tracing::info!("the files were read again");
            systemd::ready(status);
        }
        Err(failure) => {
            let error = failure.text();
            tracing::error!(error, "the files were not taken: what they said before stays in force");
            systemd::ready(&format!("{status}; the files were not taken: {error}"));
        }
    }
}

impl Source {
    /// A client of the API; and the files, if it is made of files.
    async fn open(self, metrics: &Metrics, shutdown: &Shutdown) -> Result<(Client, Option<Files>)> {
        if let Some(file) = self.kubeconfig {
            let failed =
                |error: &dyn std::fmt::Display| Failure::new(Code::Unreachable, format!("--kubeconfig {}: {error}", file.display()));
            let kubeconfig = Kubeconfig::read_from(&file).map_err(|error| failed(&error))?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(|error| failed(&error))?;
            return Ok((Client::try_from(config).map_err(|error| failed(&error))?, None));
        }
        let files = Files::open(self.from, metrics, shutdown).await?;
        Ok((files.client(), Some(files)))
    }
}
