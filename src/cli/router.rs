//! `mesh-controller router`: the router alone, for the API that a kubeconfig names, for the cluster that it runs in, or for files. With files there is an API
//! too: the embedded one, in memory and without a socket, so that the router is the same in all cases.
mod files;
mod source;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::Args;
use tokio::sync::watch;

use self::{
    files::Files,
    source::{Opened, Source},
};
use super::{
    address::address,
    exit::Result,
    hostname::hostname,
    lifetime::{self, LogArgs},
    serve::{self, ROUTER_GRACE, admin},
    signals::{Asked, Signals},
};
use mesh_api::labels::DEFAULT_ROUTER;
use mesh_kit::{metrics::Metrics, shutdown::Shutdown, systemd};
use mesh_router::{
    self, RouterOptions,
    health::Health,
    hook::Hooks,
    listener::{self, passed::Passed},
};

/// How long its parts have to end: requests, the lease, hooks; a little more than all of them.
const GRACE: Duration = ROUTER_GRACE.saturating_add(admin::HOOK_GRACE).saturating_add(Duration::from_secs(3));

/// Run the router alone, for another API, for the cluster that it runs in, or for files.
#[derive(Debug, Args)]
pub struct Router {
    #[command(flatten)]
    source: Source,
    /// Its name: that of its Lease, unlike those of all other routers of that API [default: the hostname and -router].
    #[arg(long, env = "MESH_ROUTER_NAME", value_name = "NAME")]
    name: Option<String>,
    /// The MeshRouter in the system namespace whose settings it takes.
    #[arg(long = "router", env = "MESH_ROUTER", value_name = "NAME", default_value = DEFAULT_ROUTER)]
    settings: String,
    /// Where its Lease, MeshRouter and cookie keys are [default: the namespace of its pod, else mesh-system].
    #[arg(long, env = "MESH_SYSTEM_NAMESPACE", value_name = "NAMESPACE", conflicts_with = "from")]
    system_namespace: Option<String>,
    /// The zone that it is in: where slices say so, requests stay there [default: that of its node].
    #[arg(long, env = "MESH_ZONE", value_name = "ZONE")]
    zone: Option<String>,
    /// The node that it is on: where slices say so, requests stay there.
    #[arg(long, env = "MESH_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// The address of its pod, where other routers ask it whether it has let a pod go, at the admin port.
    #[arg(long, env = "MESH_POD_IP", value_name = "IP")]
    pod_ip: Option<IpAddr>,
    /// Where it listens, unless a .socket unit of systemd passes its sockets.
    #[arg(long = "router-listen", value_parser = address, env = "MESH_ROUTER_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are, and /drain for pods that are to end.
    #[arg(long, value_parser = address, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

impl Router {
    /// Routes until a signal.
    pub(super) async fn run(self, passed: Passed) -> Result {
        let mut signals = Signals::new()?;
        let (shutdown, mut supervisor) = Shutdown::new();
        let metrics = Metrics::default();
        let (admin_listener, admin) = serve::listen(self.admin_listen, "admin endpoints", "--admin-listen").await?;
        let listeners = listener::open(self.listen, serve::workers(), passed).map_err(serve::Error::from)?;
        let address = serve::local_address(&listeners, self.listen);
        let Opened { client, mut files, namespace } = self.source.open(self.system_namespace, &metrics, &shutdown).await?;

        let (synced, ready) = watch::channel(false);
        let health = Health::default();
        let options = RouterOptions {
            name: self.name.unwrap_or_else(|| format!("{}-router", hostname())),
            namespace,
            router: self.settings,
            zone: self.zone.filter(|zone| !zone.is_empty()),
            node: self.node_name.filter(|node| !node.is_empty()),
            drain_address: self.pod_ip.map(|ip| SocketAddr::new(ip, admin.port())),
            grace: ROUTER_GRACE,
            health: health.clone(),
        };
        let hooks = files.is_none().then(|| Hooks::new(client.clone(), &options, &metrics));
        let router = mesh_router::run(options, client, listeners, metrics.clone(), shutdown.clone(), synced, hooks.clone());
        shutdown.spawn("router", router);
        let answers = admin::Admin { metrics, usage: None, ready: admin::Ready::Router(ready.clone(), health), hooks };
        shutdown.spawn("admin", admin::run(admin_listener, answers, shutdown.clone()));
        let status = format!("router {address}, admin {admin}");
        tracing::info!(router = %address, %admin, version = env!("CARGO_PKG_VERSION"), "started");
        lifetime::tell_when_ready(ready, status.clone(), &shutdown);
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
        lifetime::end(supervisor, &mut signals, death, GRACE).await
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
