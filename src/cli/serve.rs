//! The wiring: store → API → node agent → controllers → router, in one process. The only place that knows them all.
pub(super) mod admin;
pub(super) mod admission;
pub(super) mod backend;
pub(super) mod cluster;
mod protected;
mod socket;
pub(super) mod usage;

pub use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kube::Client;
use tokio::{net::TcpListener, sync::watch};

use self::usage::UsageMetrics;
use crate::state_dir::trust::{self, Distrust};

use mesh_agent::{Gate, Limits};
use mesh_api::{
    labels::{DEFAULT_ROUTER, SYSTEM_NAMESPACE},
    node::PortRange,
};
use mesh_apiserver::{
    self, ApiServer,
    credentials::{Credentials, CredentialsError},
};
use mesh_backend::{Backend, engine};
use mesh_controllers::{
    self as controller,
    mesh_instance::{
        self,
        ledger::{Ledger, Unknown},
    },
    mesh_task::metrics::TaskMetrics,
    node,
};
use mesh_coordination::{
    locks::{
        self, LockMetrics, Store as LockStore,
        redis::{self, Redis},
    },
    session::Sessions,
    token::Tokens,
};
use mesh_kit::{
    clock::{self, BootClock},
    metrics::Metrics,
    shutdown::Shutdown,
};
use mesh_router::{
    self,
    health::Health,
    listener::{self, passed::Passed},
};
use mesh_store::{self as store, Store};

/// How long requests may take to end at shutdown.
pub(super) const ROUTER_GRACE: Duration = Duration::from_secs(10);

/// What is to be run, and where.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Holds the store, credentials, kubeconfig, and the instances' records and logs.
    pub state_dir: PathBuf,
    /// What a relative working directory is relative to.
    pub project_dir: PathBuf,
    /// Where the API listens.
    pub api_listen: SocketAddr,
    /// Where the router listens, if systemd passed no socket.
    pub router_listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub admin_listen: SocketAddr,
    /// Where instances get their ports from.
    pub port_range: PortRange,
    /// The name of this machine's `MeshNode`.
    pub node_name: String,
    /// The agent's socket; in the state directory if left out.
    pub agent_socket: Option<PathBuf>,
    /// Where the agent listens besides.
    pub agent_listen: Option<SocketAddr>,
    /// What runs the instances.
    pub backend: backend::Chosen,
    /// The Redis that keeps the locks; none: Leases of the API do.
    pub coordination: Option<redis::Options>,
    /// What is done with what runs here and is not known to a new store.
    pub unknown: Unknown,
}

/// What runs, and where it is reached.
#[derive(Clone)]
pub struct Serving {
    /// A client of the API, without a socket.
    pub client: Client,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the router listens.
    pub router: SocketAddr,
    /// Where the admin endpoints are.
    pub admin: SocketAddr,
    /// For kubectl.
    pub kubeconfig: PathBuf,
    /// True once the router has read all endpoints.
    pub ready: watch::Receiver<bool>,
    /// What runs the instances, for one who must end them without waiting for the controllers.
    pub backend: Backend,
}

/// Why it could not be started. The text names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state directory cannot be used.
    #[error("state directory: {0}")]
    StateDir(#[from] Distrust),
    /// What was written down about what runs here cannot be read.
    #[error(transparent)]
    Ledger(std::io::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    OpenStore(#[from] store::Error),
    /// The store refused the first writes.
    #[error("the store refuses writes")]
    WriteStore(#[from] store::WriteError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for the {what}; end what holds it (ss -ltnp shows it), or choose another address with {flag}")]
    Listen {
        /// What for.
        what: &'static str,
        /// The flag that changes it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The agent's socket cannot be made.
    #[error(transparent)]
    ListenAgent(#[from] mesh_agent::Error),
    /// The key of the instances' tokens cannot be read or made.
    #[error("the key of the instances' tokens")]
    Tokens(#[source] std::io::Error),
    /// The router's address cannot be listened on.
    #[error(transparent)]
    ListenRouter(#[from] listener::Error),
    /// Keys, certificates or the kubeconfig could not be made.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The Redis that is to keep the locks cannot be used.
    #[error("--coordination: {0}")]
    Coordination(#[from] redis::Error),
    /// The backend cannot work here.
    #[error(transparent)]
    Backend(#[from] mesh_backend::Error),
    /// There is no container engine, or it cannot be used.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The first objects could not be made.
    #[error("preparing the API")]
    Bootstrap(#[from] controller::Error),
}

/// Starts everything; the router takes the sockets that were passed. Returns once all of it listens; what it started ends by `shutdown`, and instances go on running.
///
/// # Errors
/// The first thing that could not be started, with its remedy; nothing is left running then.
pub async fn start(options: ServeOptions, passed: Passed, shutdown: &Shutdown) -> Result<Serving, Error> {
    let metrics = Metrics::default();
    let state_dir = trust::prepare(&options.state_dir)?;
    let store = Store::open(&state_dir, &store::Options { metrics: Some(metrics.clone()), ..store::Options::default() })?;
    let ledger = Arc::new(Ledger::open(&state_dir, store.uuid(), options.unknown).map_err(Error::Ledger)?);
    let (api_listener, api) = listen(options.api_listen, "API", "--api-listen").await?;
    let (admin_listener, admin_address) = listen(options.admin_listen, "admin endpoints", "--admin-listen").await?;
    let router_listeners = listener::open(options.router_listen, workers(), passed)?;
    let router = local_address(&router_listeners, options.router_listen);
    let agent_socket = options.agent_socket.unwrap_or_else(|| socket::of(&state_dir));
    let agent_listener = mesh_agent::listen(&agent_socket)?;
    let agent_port = match options.agent_listen {
        Some(address) => Some(listen(address, "agent", "--agent-listen").await?.0),
        None => None,
    };
    let redis = redis(options.coordination, &metrics).await?;

    let backend = options.backend.open(&state_dir, shutdown).await?;
    let credentials = Credentials::load_or_create(&state_dir, api, clock::now())?;
    let kubeconfig = credentials.write_kubeconfig(&state_dir)?;
    let api_options = mesh_apiserver::Options {
        logs: Some(backend.clone()),
        ca_certificate: credentials.ca_certificate().to_owned(),
        metrics: Some(metrics.clone()),
        admission: admission::admission(),
        protected: protected::protected(&state_dir),
    };
    let server = ApiServer::start(store, api_options, shutdown).await?;
    let (client, store) = (Client::new(server.service(), "default"), server.store().clone());
    let outages = outages(&store);
    controller::bootstrap::bootstrap(&client).await?;
    let node = node::Node {
        name: options.node_name.clone(),
        backend: options.backend.kind(),
        ports: options.port_range,
        coordination: redis.as_ref().map(|redis| redis.address().to_owned()),
    };
    match node::register(&client, &node).await {
        // It is tried again as long as it runs: until there is room on the disk, what is stored can be read.
        Err(error) if error.is_unavailable() => tracing::warn!(%error, "the node could not be written down"),
        registered => registered?,
    }

    shutdown.spawn("api", server.run(api_listener, credentials, shutdown.clone()));
    shutdown.spawn("store-outages", node::tell_outages(client.clone(), node.name.clone(), outages, shutdown.triggered()));
    let (tokens, sessions) = (Tokens::open(&state_dir.join("agent.key")).map_err(Error::Tokens)?, Sessions::default());
    let door = mesh_instance::Door {
        socket: agent_socket,
        folder: state_dir.join("tokens"),
        tokens: tokens.clone(),
        sessions: sessions.clone(),
        router: router_urls(router),
    };
    let of_locks = locks::Options {
        // Hosts that share a Redis may be called the same.
        agent: Some(redis.as_ref().map_or_else(|| node.name.clone(), |_| format!("{}/{}", node.name, store.uuid()))),
        store: redis.clone().map_or_else(|| LockStore::Leases { client: client.clone(), namespace: None }, LockStore::Redis),
        sessions: sessions.clone(),
        tokens: tokens.clone(),
        metrics: LockMetrics::register(&metrics),
        clock: BootClock::system(),
        boot: Duration::ZERO,
    };
    let (locks, keeping) = locks::keep(of_locks);
    shutdown.spawn("locks", keeping);
    let opened = mesh_agent::Door { gate: Gate::of_node(tokens, sessions, Limits::register(&metrics)), locks };
    shutdown.spawn("agent", mesh_agent::run(Some(agent_listener), agent_port, opened, shutdown.clone()));
    let agent = mesh_instance::Options {
        node: node.name.clone(),
        backend: node.backend,
        project_dir: options.project_dir.clone(),
        ports: options.port_range,
        ledger,
        door: Some(door),
        unknown_probes: mesh_instance::UnknownProbes::register(&metrics),
    };
    spawn_controllers(&client, backend.clone(), node, agent, &metrics, shutdown);
    let (synced, ready) = watch::channel(false);
    let health = Health::default();
    let router_options = mesh_router::RouterOptions {
        name: options.node_name,
        namespace: SYSTEM_NAMESPACE.to_owned(),
        router: DEFAULT_ROUTER.to_owned(),
        zone: None,
        node: None,
        drain_address: None,
        grace: ROUTER_GRACE,
        health: health.clone(),
    };
    // Here instances are no pods: the agent asks in their status.
    shutdown.spawn(
        "router",
        mesh_router::run(router_options, client.clone(), router_listeners, metrics.clone(), shutdown.clone(), synced, None),
    );
    let usage = UsageMetrics::register(&metrics, backend.clone());
    let admin = admin::Admin {
        metrics,
        usage: Some(usage),
        ready: admin::Ready::Machine { store, router: ready.clone(), health, redis },
        hooks: None,
    };
    shutdown.spawn("admin", admin::run(admin_listener, admin, shutdown.clone()));
    Ok(Serving { client, api, router, admin: admin_address, kubeconfig, ready, backend })
}

/// The Redis that keeps the locks, if there is to be one.
async fn redis(options: Option<redis::Options>, metrics: &Metrics) -> Result<Option<Redis>, Error> {
    let Some(options) = options else { return Ok(None) };
    let redis = Redis::open(options).await?;
    redis.register(metrics);
    Ok(Some(redis))
}

/// Each outage of the store that is over, in words.
fn outages(store: &Store) -> BoxStream<'static, String> {
    let next = |mut recovered: watch::Receiver<Option<store::Recovered>>| async move {
        recovered.changed().await.ok()?;
        let over = recovered.borrow_and_update().as_ref().map(ToString::to_string)?;
        Some((over, recovered))
    };
    stream::unfold(store.recovered(), next).boxed()
}

fn spawn_controllers(
    client: &Client,
    backend: Backend,
    node: node::Node,
    agent: mesh_instance::Options,
    metrics: &Metrics,
    shutdown: &Shutdown,
) {
    let (reconciles, tasks) = (controller::Reconciles::register(metrics), TaskMetrics::register(metrics));
    shutdown.spawn("mesh-task", controller::mesh_task::run(client.clone(), reconciles.clone(), tasks, shutdown.triggered()));
    shutdown.spawn("mesh-service", controller::mesh_service::run(client.clone(), reconciles.clone(), shutdown.triggered()));
    let reports = node::Reports { health: backend.health(), left: agent.ledger.left() };
    shutdown.spawn("mesh-instance", mesh_instance::run(client.clone(), backend, agent, reconciles.clone(), shutdown.triggered()));
    shutdown.spawn("endpoints", controller::endpoints::run(client.clone(), reconciles.clone(), shutdown.triggered()));
    shutdown.spawn("system", controller::system::run(client.clone(), shutdown.triggered()));
    shutdown.spawn("node", node::run(client.clone(), node, reports, shutdown.triggered()));
}

/// Where instances reach the router. It answers containers by the name that their engine gives the machine, if it listens on more than loopback.
fn router_urls(router: SocketAddr) -> mesh_instance::Router {
    let all = router.ip().is_unspecified();
    let from_here = if all { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), router.port()) } else { router };
    let from_containers = match router.ip() {
        ip if ip.is_unspecified() => Some(format!("http://host.containers.internal:{}", router.port())),
        ip if ip.is_loopback() => None,
        _ => Some(format!("http://{router}")),
    };
    mesh_instance::Router { from_here: format!("http://{from_here}"), from_containers }
}

/// Workers of a router: one per core.
pub(super) fn workers() -> usize {
    available_parallelism().map_or(1, usize::from)
}

pub(super) async fn listen(address: SocketAddr, what: &'static str, flag: &'static str) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { what, flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// The address that was bound: the port is the system's choice if 0 was asked for.
pub(super) fn local_address(listeners: &[std::net::TcpListener], asked: SocketAddr) -> SocketAddr {
    listeners.first().and_then(|listener| listener.local_addr().ok()).unwrap_or(asked)
}
