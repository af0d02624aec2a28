//! `mesh-controller agent`: the agent's door in a cluster, for the pods of `MeshService`s. Several may run: what is held stands in Leases, each write against the revision that
//! was read. A machine's controller opens the door itself.
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;

use super::{
    address::address,
    exit::{Code, Failure, Result},
    lifetime::{self, LogArgs},
    serve::{self, admin, cluster},
    signals::Signals,
};
use mesh_agent::{Door, Gate, Limits};
use mesh_coordination::{
    locks::{self, LockMetrics, Locks, Store},
    pods::{self, Pods},
    review::Reviews,
    session::Sessions,
    token::Tokens,
};
use mesh_kit::{
    clock::{self, BootClock},
    metrics::Metrics,
    shutdown::Shutdown,
};

/// How long its parts have to end: requests that are held open are broken off, and asked again elsewhere.
const GRACE: Duration = Duration::from_secs(5);

/// Run the agent, by which the programs of a cluster's pods talk to the mesh: locks and leaders.
#[derive(Debug, Args)]
pub struct Agent {
    /// The cluster's kubeconfig [default: the Pod's own access, else $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where programs ask, in clear HTTP with their tokens.
    #[arg(long, value_parser = address, env = "MESH_AGENT_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7603")]
    listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, value_parser = address, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9464")]
    admin_listen: SocketAddr,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

impl Agent {
    /// Answers until a signal.
    pub(super) async fn run(self) -> Result {
        let mut signals = Signals::new()?;
        let (shutdown, mut supervisor) = Shutdown::new();
        let metrics = Metrics::default();
        let (admin_listener, admin) = serve::listen(self.admin_listen, "admin endpoints", "--admin-listen").await?;
        let (listener, agent) = serve::listen(self.listen, "agent", "--listen").await?;
        let (config, source) = cluster::config(self.kubeconfig.as_deref()).await?;
        let client = Client::try_from(config).map_err(|error| Failure::new(Code::Unreachable, format!("{source}: {error}")))?;

        let sessions = Sessions::default();
        let (pods, following) = pods::follow(client.clone(), sessions.clone());
        shutdown.spawn("pods", following);
        let clock = BootClock::system();
        let boot = clock::now().duration_since(Timestamp::UNIX_EPOCH).unsigned_abs().saturating_sub(clock.now().since_boot());
        let options = locks::Options {
            store: Store::Leases { client: client.clone(), namespace: None },
            agent: None,
            sessions,
            // A waiter's place is kept as long as this agent lives.
            tokens: Tokens::random(),
            metrics: LockMetrics::register(&metrics),
            clock,
            boot,
        };
        let (locks, keeping) = locks::keep(options);
        shutdown.spawn("locks", keeping);

        let (waits, waiting) = watch::channel(Some("the cluster's pods and Leases were not read yet".to_owned()));
        let answers = admin::Admin { metrics: metrics.clone(), usage: None, ready: waiting.into(), hooks: None };
        shutdown.spawn("admin", admin::run(admin_listener, answers, shutdown.clone()));
        shutdown.spawn_work(tell_when_read(pods.clone(), locks.clone(), waits, shutdown.clone()));
        let door = Door { gate: Gate::of_cluster(Reviews::new(client), pods, Limits::register(&metrics)), locks };
        shutdown.spawn("agent", mesh_agent::run(None, Some(listener), door, shutdown.clone()));
        tracing::info!(%agent, %admin, cluster = source, version = env!("CARGO_PKG_VERSION"), "started");
        let death = tokio::select! {
            _ = signals.next() => None,
            death = supervisor.death() => Some(death),
        };
        tracing::info!("ending");
        lifetime::end(supervisor, &mut signals, death, GRACE).await
    }
}

/// Says so once all that it decides by was read.
async fn tell_when_read(pods: Pods, locks: Locks, waits: watch::Sender<Option<String>>, shutdown: Shutdown) {
    tokio::select! {
        (true, true) = async { (pods.ready(Duration::MAX).await, locks.ready(Duration::MAX).await) } => drop(waits.send_replace(None)),
        () = shutdown.triggered() => {}
    }
}
