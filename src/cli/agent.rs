//! `mesh-controller agent`: the agent's door in a cluster, for the pods of `MeshService`s and `MeshTask`s. Several may run: what is held stands in Leases, each write against the revision that
//! was read. A machine's controller opens the door itself.
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    address::address,
    exit::{Code, Failure, Result},
    lifetime::{self, LogArgs},
    serve::{self, admin, cluster},
    signals::Signals,
};
use mesh_agent::{Door, Gate, Limits};
use mesh_coordination::{
    locks::{self, LockMetrics, Store},
    pods,
    review::Reviews,
    session::Sessions,
    token::Tokens,
};
use mesh_kit::{
    backoff::Backoff,
    clock::{self, BootClock},
    metrics::Metrics,
    shutdown::Shutdown,
    watch::refused::Chain,
};

/// How long its parts have to end: requests that are held open are broken off, and asked again elsewhere.
const GRACE: Duration = Duration::from_secs(5);
/// For one look for the key, and between two.
const CALL: Duration = Duration::from_secs(5);
const RETRY: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(30) };

/// Run the agent, by which the programs of a cluster's pods talk to the mesh: locks and leaders.
#[derive(Debug, Args)]
pub struct Agent {
    /// The cluster's kubeconfig [default: the Pod's own access, else $KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Where the key of the agents is, with which they know what each other has signed [default: the namespace of its pod, else mesh-system].
    #[arg(long, env = "MESH_SYSTEM_NAMESPACE", value_name = "NAMESPACE")]
    system_namespace: Option<String>,
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
        let (config, source, namespace) = cluster::config(self.kubeconfig.as_deref(), self.system_namespace).await?;
        let client = Client::try_from(config).map_err(|error| Failure::new(Code::Unreachable, format!("{source}: {error}")))?;

        let (waits, waiting) = watch::channel(Some("the agents' key, the cluster's pods and Leases were not read yet".to_owned()));
        let answers = admin::Admin { metrics: metrics.clone(), usage: None, ready: waiting.into(), hooks: None };
        shutdown.spawn("admin", admin::run(admin_listener, answers, shutdown.clone()));
        let opening = Opening { client, namespace, listener, metrics, waits };
        shutdown.spawn_work(opening.open(shutdown.clone()));
        tracing::info!(%agent, %admin, cluster = source, version = env!("CARGO_PKG_VERSION"), "started");
        let death = tokio::select! {
            _ = signals.next() => None,
            death = supervisor.death() => Some(death),
        };
        tracing::info!("ending");
        lifetime::end(supervisor, &mut signals, death, GRACE).await
    }
}

/// The door before it is open.
struct Opening {
    client: Client,
    /// Where the agents' key is.
    namespace: String,
    listener: TcpListener,
    metrics: Metrics,
    /// What is waited for; nothing once this process works.
    waits: watch::Sender<Option<String>>,
}

impl Opening {
    /// Opens it as soon as the agents' key is there, and says so once all that it decides by was read.
    async fn open(self, shutdown: Shutdown) {
        let Self { client, namespace, listener, metrics, waits } = self;
        let tokens = tokio::select! {
            tokens = key(&client, &namespace) => tokens,
            () = shutdown.triggered() => return,
        };
        let sessions = Sessions::default();
        let (pods, following) = pods::follow(client.clone(), sessions.clone());
        shutdown.spawn("pods", following);
        let clock = BootClock::system();
        let boot = clock::now().duration_since(Timestamp::UNIX_EPOCH).unsigned_abs().saturating_sub(clock.now().since_boot());
        let options = locks::Options {
            store: Store::Leases { client: client.clone(), namespace: None },
            agent: None,
            sessions,
            tokens,
            metrics: LockMetrics::register(&metrics),
            clock,
            boot,
        };
        let (locks, keeping) = locks::keep(options);
        shutdown.spawn("locks", keeping);
        let gate = Gate::of_cluster(Reviews::new(client), pods.clone(), Limits::register(&metrics));
        let door = Door { gate, locks: locks.clone() };
        shutdown.spawn("agent", mesh_agent::run(None, Some(listener), door, shutdown.clone()));
        tokio::select! {
            (true, true) = async { (pods.ready(Duration::MAX).await, locks.ready(Duration::MAX).await) } => drop(waits.send_replace(None)),
            () = shutdown.triggered() => {}
        }
    }
}

/// The key that all agents of the cluster sign with: who waits keeps its place whichever of them it asks next. Asked for until it is there.
async fn key(client: &Client, namespace: &str) -> Tokens {
    let mut failures = 1;
    loop {
        let error = match timeout(CALL, Tokens::shared(client.clone(), namespace)).await {
            Ok(Ok(tokens)) => return tokens,
            Ok(Err(error)) => Chain(&error).to_string(),
            Err(_) => "the API did not answer in time".to_owned(),
        };
        tracing::warn!(namespace, error, "there is no key for what this agent signs; it is asked for again");
        failures += 1;
        sleep(RETRY.delay(failures, rand::random())).await;
    }
}
