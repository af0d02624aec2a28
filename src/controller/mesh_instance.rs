//! The node's agent: observe → plan → execute, for the instances of its own node, until what runs is what should.
mod agent;
mod door;
mod execute;
mod launch;
pub mod ledger;
mod orphans;
mod ports;
mod probes;
mod requests;
mod sweep;
mod update_status;
mod words;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture};
use k8s_openapi::api::{coordination::v1::Lease, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    runtime::{
        controller::{Action, Config},
        reflector::ObjectRef,
        watcher,
    },
};

use self::{agent::Agent, ledger::Ledger, orphans::Orphans};
pub use self::{
    door::{Door, Router},
    probes::unknown::UnknownProbes,
};
use super::{Error, Reconciles, api, drive, error_policy, notes::Notes, of_instances_seen};
use mesh_api::{
    MeshInstance, labels,
    node::{BackendKind, PortRange},
};
use mesh_backend::{self as backend, Backend};
use mesh_kit::{clock, shutdown::Triggered};
use mesh_plan::{
    instance::InstanceKey,
    leases,
    lifecycle::{self, Facts, Step, plan},
};

/// How the agent runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node it is the agent of.
    pub node: String,
    /// What runs the instances here.
    pub backend: BackendKind,
    /// What a relative working directory is relative to.
    pub project_dir: PathBuf,
    /// Where ports come from.
    pub ports: PortRange,
    /// Which store knows what runs here.
    pub ledger: Arc<Ledger>,
    /// Where programs talk to the mesh; none: nowhere.
    pub door: Option<Door>,
    /// Counts the probes that could not be made.
    pub unknown_probes: UnknownProbes,
}

/// Runs until shutdown. Instances go on running.
///
/// # Errors
/// None that is not retried, but that the API or the backend cannot be read at the start.
pub fn run(
    client: Client,
    backend: Backend,
    options: Options,
    reconciles: Reconciles,
    shutdown: Triggered,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let mine = format!("spec.nodeName={}", options.node);
        // The stream is there before the first look, so that no change falls between the two.
        let changes = backend.changes().map(|key| ObjectRef::new(&key.name).within(&key.namespace));
        let (notes, writing) = Notes::new(client.clone(), "mesh-instance", &options.node);
        let (orphans, news) = Orphans::new();
        let (agent, probed) = Agent::new(client.clone(), backend, options, notes, orphans);
        let agent = Arc::new(agent);
        sweep::sweep(&agent).await?;
        let (seeing, ending) = (Arc::clone(&agent), Arc::clone(&agent));
        let mut synced = false;
        let see = move |event: &watcher::Result<watcher::Event<MeshInstance>>| sweep::see(&seeing, &mut synced, event);
        let stream = of_instances_seen(Api::all(client), watcher::Config::default().fields(&mine), see)
            .with_config(Config::default().concurrency(64))
            .reconcile_on(changes)
            .reconcile_on(probed)
            .graceful_shutdown_on(shutdown)
            .run(reconcile, error_policy, agent);
        let beside = async {
            tokio::join!(writing, Box::pin(sweep::work(&ending, news)));
        };
        Box::pin(drive("mesh_instance", stream, beside, &reconciles)).await
    })
}

#[tracing::instrument(skip_all, fields(kind = "MeshInstance", namespace = instance.namespace(), object = instance.name_any()))]
async fn reconcile(instance: Arc<MeshInstance>, agent: Arc<Agent>) -> Result<Action, Error> {
    let key = launch::key(&instance);
    sweep::replace(&agent, &instance);
    let (routers, announced) = if instance.metadata.deletion_timestamp.is_some() {
        (live_routers(&agent.client).await?, announced(&agent.client, &key).await?)
    } else {
        (Vec::new(), true)
    };
    loop {
        let observed = match agent.observe(&instance, &key).await {
            Ok(observed) => observed,
            Err(source) => return blind(&agent, &instance, "observe", source).await,
        };
        let memory = agent.note(&key, &observed);
        let health = agent.probe(&instance, &key, &observed).await;
        let facts = Facts {
            instance: &instance,
            observed: &observed,
            health: &health,
            memory: &memory,
            routers: &routers,
            announced,
            now: clock::now(),
        };
        let mut plan = plan(&facts);
        words::note(&agent, &instance, &key, &observed, &mut plan.status).await;
        if let Some(left) = lifecycle::unsettled(&facts, &plan) {
            return Ok(Action::requeue(left));
        }
        match plan.step {
            Step::Wait { wake } => {
                update_status::update_status(&agent, &instance, &plan.status).await?;
                return Ok(wake.map_or_else(Action::await_change, Action::requeue));
            }
            Step::Start { attempt } => execute::start(&agent, &instance, &key, attempt).await?,
            Step::Stop { grace } => {
                agent.remember(&key, |memory| memory.note_stop(&health));
                update_status::update_status(&agent, &instance, &plan.status).await?;
                return match execute::stop(&agent, &instance, &key, grace).await {
                    Ok(()) => Ok(Action::await_change()),
                    Err(source) => blind(&agent, &instance, "stop", source).await,
                };
            }
            Step::Release => {
                execute::release(&agent, &instance, &key).await?;
                return Ok(Action::await_change());
            }
        }
    }
}

/// An instance that cannot be looked at, or cannot be ended: says why in its status, unless the trouble is on our side and says nothing about it.
async fn blind(agent: &Agent, instance: &MeshInstance, act: &'static str, source: backend::Error) -> Result<Action, Error> {
    if source.is_ours() {
        return Err(Error::Backend { act, source });
    }
    let status = lifecycle::blind(instance, source.to_string(), clock::now());
    update_status::update_status(agent, instance, &status).await?;
    Ok(Action::requeue(Duration::from_secs(2)))
}

/// The routers whose leases run.
async fn live_routers(client: &Client) -> Result<Vec<String>, Error> {
    let all: Api<Lease> = Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE);
    let found = all.list(&ListParams::default().labels(labels::ROUTER_LEASE)).await.map_err(api("list the routers' Leases"))?;
    let now = clock::now();
    Ok(found.items.iter().filter_map(|lease| leases::holder(lease, now)).map(ToOwned::to_owned).collect())
}

/// Whether routers can hear of the instance's end: its slice has its name.
async fn announced(client: &Client, key: &InstanceKey) -> Result<bool, Error> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &key.namespace);
    Ok(slices.get_metadata_opt(&key.name).await.map_err(api("read EndpointSlice"))?.is_some())
}
