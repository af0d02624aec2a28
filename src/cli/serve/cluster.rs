//! The wiring in a cluster: checks → election → controllers behind the gate → admin port. No API, router or node agent of its own: the cluster has them.
mod checks;
mod connect;
mod leader;
mod version;

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{Client, Config, client::ClientBuilder};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};

use super::admin::{self, Admin};
use crate::hostname::hostname;
use mesh_backend::kubernetes::render::Door;
use mesh_controllers::{self as controller, Reconciles, cluster_service, cluster_task, mesh_task::metrics::TaskMetrics};
use mesh_coordination::{
    Leadership,
    election::{self, Election, Timing},
    gate::Gate,
    is_not_leader,
};
use mesh_kit::{backoff::Backoff, clock::BootClock, metrics::Metrics, shutdown::Shutdown};

/// The name of the Lease.
const LEASE: &str = "mesh-controller";
/// Between two looks at what stands in the way: CRDs that were applied with this Deployment are there in a moment, a person takes longer.
const RECHECK: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(30) };
/// For one such look.
const CHECK: Duration = Duration::from_secs(20);
/// After a failed write of the first objects.
const RETRY: Duration = Duration::from_secs(5);

/// What is to be run, and for which cluster.
#[derive(Debug, Clone)]
pub(crate) struct ClusterOptions {
    /// The cluster's kubeconfig, if it was named.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Where Lease, default MeshRouter and cookie keys are, if it was said.
    pub(crate) system_namespace: Option<String>,
    /// Namespace and name of the routers' drain Service, if it was said.
    pub(crate) router_service: Option<(String, String)>,
    /// The image that holds `mesh-drain`; none: pods get no drain hook.
    pub(crate) drain_image: Option<String>,
    /// Where pods find the agent; none: there is none.
    pub(crate) agent_url: Option<String>,
    /// Where pods find the routers; none: there are none, or it is not said.
    pub(crate) router_url: Option<String>,
    /// Whether several controllers may run.
    pub(crate) leader_elect: bool,
    /// This process among them: the Pod's name.
    pub(crate) name: String,
}

/// Why it could not be started. The text names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read, or what it names.
    #[error("{from}: {text}; name another with --kubeconfig")]
    Kubeconfig {
        /// Which.
        from: String,
        /// What is wrong with it.
        text: String,
    },
    /// No cluster was named.
    #[error("no cluster: --kubeconfig is not given, this process does not run in a Pod, and {from}: {text}")]
    Nowhere {
        /// Where was looked last.
        from: String,
        /// What is wrong there.
        text: String,
    },
    /// In a Pod, but without what a Pod has.
    #[error("{0}")]
    InCluster(String),
    /// The client could not be made.
    #[error("{from}: {text}")]
    Client {
        /// Which cluster.
        from: String,
        /// What is wrong.
        text: String,
    },
    /// Nobody answers.
    #[error(
        "the cluster's API at {address} (from {from}) does not answer: {text}; `kubectl get --raw /version` with the same kubeconfig shows it"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// From which configuration.
        from: String,
        /// What happened.
        text: String,
    },
    /// Its Kubernetes is too old.
    #[error("{0}")]
    TooOld(String),
}

/// Starts it; returns once the cluster has answered. What stands in the way then (CRDs, permissions) is waited for.
pub(crate) async fn start(options: ClusterOptions, admin: TcpListener, metrics: Metrics, shutdown: &Shutdown) -> Result<String, Error> {
    let (waits, waiting) = watch::channel(Some("the cluster has not answered yet".to_owned()));
    let told = Admin { metrics: metrics.clone(), usage: None, ready: waiting.into(), hooks: None };
    shutdown.spawn("admin", admin::run(admin, told, shutdown.clone()));
    let found = connect::find(options.kubeconfig.as_deref()).await?;
    let made = |error: kube::Error| Error::Client { from: found.source.clone(), text: error.to_string() };
    // Two clients: what the election writes must not wait behind, or be refused with, what the controllers write.
    let plain = Client::try_from(found.config.clone()).map_err(made)?;
    found.reach(&plain).await?;
    let namespace = found.system_namespace(options.system_namespace.clone());
    let cluster = found.config.cluster_url.to_string();
    let election = options.leader_elect.then(|| stand(&plain, &namespace, &options.name));
    let leadership = election.as_ref().map_or_else(Leadership::always, Election::leadership);
    let gated = gated(found.config.clone(), &leadership).map_err(made)?;
    leader::register(&metrics, &leadership);
    let reconciles = Reconciles::register(&metrics);
    let task_metrics = TaskMetrics::register(&metrics);
    let service = options.router_service.unwrap_or_else(|| (namespace.clone(), "mesh-router-drain".to_owned()));
    let options = cluster_service::Options {
        system_namespace: namespace,
        router_service: Some(service),
        drain_image: options.drain_image,
        door: options.agent_url.map(|agent| Door { agent, router: options.router_url }),
    };
    let parts = Parts { plain, gated, election, leadership, options, reconciles, task_metrics, waits };
    shutdown.spawn("cluster", parts.run(shutdown.clone()));
    Ok(cluster)
}

/// How the cluster's API is reached, for a process that leaves the waiting to its watches; where that stood, and the system namespace.
pub(crate) async fn config(kubeconfig: Option<&Path>, system_namespace: Option<String>) -> Result<(Config, String, String), Error> {
    let found = connect::find(kubeconfig).await?;
    let namespace = found.system_namespace(system_namespace);
    Ok((found.config, found.source, namespace))
}

fn stand(client: &Client, namespace: &str, name: &str) -> Election {
    let options = election::Options {
        namespace: namespace.to_owned(),
        name: LEASE.to_owned(),
        identity: format!("{name}_{}", uuid::Uuid::new_v4()),
        timing: Timing::default(),
        clock: BootClock::system(),
    };
    Election::new(client.clone(), options)
}

/// A client whose writes pass only while this process leads.
fn gated(config: Config, leadership: &Leadership) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Gate::new(leadership.clone())).build())
}

/// What is started once nothing stands in the way.
struct Parts {
    /// For the election and for access reviews.
    plain: Client,
    gated: Client,
    election: Option<Election>,
    leadership: Leadership,
    options: cluster_service::Options,
    reconciles: Reconciles,
    task_metrics: TaskMetrics,
    /// What is waited for; nothing once this process works.
    waits: watch::Sender<Option<String>>,
}

impl Parts {
    async fn run(self, shutdown: Shutdown) -> Result<(), Infallible> {
        let end = shutdown.triggered();
        tokio::select! {
            () = end => return Ok(()),
            () = wait_until_clear(&self.plain, &self.options.system_namespace, &self.waits) => {}
        }
        let Self { gated, election, leadership, options, reconciles, task_metrics, waits, .. } = self;
        let namespace = options.system_namespace.clone();
        let of_tasks = options.clone();
        if let Some(election) = election {
            shutdown.spawn("election", election.run(shutdown.triggered()));
        }
        let services = cluster_service::run(gated.clone(), options, leadership.leading(), reconciles.clone(), shutdown.triggered());
        shutdown.spawn("mesh-service", services);
        let tasks = cluster_task::run(gated.clone(), of_tasks, leadership.leading(), reconciles, task_metrics, shutdown.triggered());
        shutdown.spawn("mesh-task", tasks);
        waits.send_replace(None);
        tokio::select! {
            () = shutdown.triggered() => {}
            () = prepare(&gated, &namespace, leadership.leading()) => {}
        }
        Ok(())
    }
}

/// Returns once all CRDs and permissions are there; until then it says what is missing, when that changes.
async fn wait_until_clear(client: &Client, namespace: &str, waits: &watch::Sender<Option<String>>) {
    let (mut told, mut looks) = (String::new(), 1_u32);
    loop {
        let obstacles = match timeout(CHECK, checks::obstacles(client, namespace)).await {
            Ok(Ok(obstacles)) => obstacles,
            Ok(Err(error)) => vec![format!("the cluster could not be looked at: {error}")],
            Err(_) => vec!["the cluster's API does not answer in time".to_owned()],
        };
        if obstacles.is_empty() {
            return;
        }
        let text = obstacles.join("\n");
        if text != told {
            for obstacle in &obstacles {
                tracing::error!("{obstacle}");
            }
            tracing::info!("it is looked at again, at least every {} s", RECHECK.max.as_secs());
            waits.send_replace(Some(text.clone()));
            told = text;
        }
        looks = looks.saturating_add(1);
        sleep(RECHECK.delay(looks, rand::random())).await;
    }
}

/// Whenever this process begins to lead, makes the default MeshRouter and its cookie keys if they are missing.
async fn prepare(client: &Client, namespace: &str, mut leading: watch::Receiver<bool>) {
    while leading.wait_for(|leading| *leading).await.is_ok() {
        match controller::bootstrap::router(client, namespace).await {
            Ok(()) => {
                if leading.wait_for(|leading| !leading).await.is_err() {
                    break;
                }
            }
            Err(controller::Error::Api { error, .. }) if is_not_leader(&error) => sleep(RETRY).await,
            Err(error) => {
                tracing::warn!(%error, namespace, "the default MeshRouter could not be made; it is tried again");
                sleep(RETRY).await;
            }
        }
    }
    std::future::pending::<()>().await;
}

/// This process's name among the replicas: the Pod's, else the machine's.
pub(crate) fn own_name() -> String {
    ["MESH_POD_NAME", "POD_NAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(hostname)
}
