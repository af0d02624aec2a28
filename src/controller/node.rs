//! The agent's own `MeshNode`, and the Lease by which others know that it lives.
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::watcher::Config,
};
use serde_json::json;
use tokio::sync::watch;

use super::{
    Error,
    absences::absences,
    api,
    notes::{Note, Notes, first_of},
};
use mesh_api::{
    GROUP, MeshNode, MeshNodeSpec, VERSION,
    conditions::{Want, node as reason},
    labels,
    node::{BackendKind, MeshNodeStatus, PortRange},
};
use mesh_kit::{clock, shutdown::Triggered};
use mesh_plan::{instance::InstanceKey, leases};

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What runs instances here.
    pub backend: BackendKind,
    /// Where their ports come from.
    pub ports: PortRange,
    /// What keeps the locks of its instances, if not Leases.
    pub coordination: Option<String>,
}

/// What a node's status tells of, as it changes.
#[derive(Debug, Clone)]
pub struct Reports {
    /// The backend answers, or why it does not; none where nobody has to ask.
    pub health: Option<watch::Receiver<Result<(), String>>>,
    /// What runs here and was left by an earlier store.
    pub left: watch::Receiver<Vec<InstanceKey>>,
}

impl Reports {
    /// What they say now.
    fn now(&mut self) -> Report {
        let health = self.health.as_mut().map_or(Ok(()), |health| health.borrow_and_update().clone());
        Report { health, left: self.left.borrow_and_update().clone() }
    }

    /// Until they may say something else.
    ///
    /// # Errors
    /// They never will.
    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        match &mut self.health {
            Some(health) => tokio::select! { changed = health.changed() => changed, changed = self.left.changed() => changed },
            None => self.left.changed().await,
        }
    }
}

/// What they say at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    health: Result<(), String>,
    left: Vec<InstanceKey>,
}

impl Report {
    /// Nothing is wrong, as far as is known.
    const FINE: Self = Self { health: Ok(()), left: Vec::new() };

    fn wants(&self) -> impl Iterator<Item = Want> {
        let ready = match &self.health {
            Ok(()) => Want::new(reason::READY, true, reason::AGENT_READY, ""),
            Err(why) => Want::new(reason::READY, false, reason::ENGINE_UNREACHABLE, why.as_str()),
        };
        let left = (!self.left.is_empty()).then(|| Want::new(reason::UNKNOWN_INSTANCES, true, reason::LEFT_BY_EARLIER_STORE, self.left()));
        std::iter::once(ready).chain(left)
    }

    /// What was left, in words.
    fn left(&self) -> String {
        let names: Vec<String> = self.left.iter().map(ToString::to_string).collect();
        format!(
            "an earlier store has left running what this one does not know: {}; it runs on, gets no requests, and ends when its service is applied again, or at a \
             start with --end-unknown",
            first_of(&names, NAMED)
        )
    }

    /// Tells the log what is new.
    fn log(&self, told: &Self) {
        match (&self.health, &told.health) {
            (Ok(()), Err(_)) => tracing::info!("the backend answers again"),
            (Err(why), old) if old.as_ref() != Err(why) => tracing::warn!(why, "the backend does not answer; what runs, runs on"),
            _ => {}
        }
        if self.left != told.left && !self.left.is_empty() {
            tracing::warn!("{}", self.left());
        }
    }
}

pub(super) const RENEW: Duration = Duration::from_secs(5);
/// Instances that a message names.
const NAMED: usize = 5;
/// The reason of an Event.
const STORE_OUTAGE: &str = "StoreOutage";
/// Until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The name of a node's Lease.
pub(super) fn lease_name(node: &str) -> String {
    format!("node-{node}")
}

/// Makes the node known; called once before the agent starts.
///
/// # Errors
/// What the API said.
pub async fn register(client: &Client, node: &Node) -> Result<(), Error> {
    announce(client, node, &Report::FINE).await
}

async fn announce(client: &Client, node: &Node, report: &Report) -> Result<(), Error> {
    renew(client, node).await?;
    let nodes: Api<MeshNode> = Api::all(client.clone());
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    let annotations: BTreeMap<_, _> = node.coordination.iter().map(|coordination| (labels::COORDINATION, coordination)).collect();
    let metadata = json!({ "name": node.name, "annotations": annotations });
    let object = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MeshNode", "metadata": metadata, "spec": {} });
    nodes.patch(&node.name, &params, &Patch::Apply(&object)).await.map_err(api("apply MeshNode"))?;
    update_status(client, node, report).await
}

/// Says whether instances can be started here, and what else is to be known.
async fn update_status(client: &Client, node: &Node, report: &Report) -> Result<(), Error> {
    let nodes: Api<MeshNode> = Api::all(client.clone());
    let known = nodes.get(&node.name).await.map_err(api("read MeshNode"))?;
    let old = known.status.unwrap_or_default();
    let now = clock::now();
    let status = MeshNodeStatus {
        backend: Some(node.backend),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ports: Some(node.ports.to_string()),
        conditions: report.wants().map(|want| want.over(&old.conditions, known.metadata.generation, now)).collect(),
    };
    let params = PatchParams::apply(labels::STATUS_MANAGER).force();
    let object =
        json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "MeshNode", "metadata": { "name": node.name }, "status": status });
    nodes.patch_status(&node.name, &params, &Patch::Apply(&object)).await.map_err(api("apply MeshNode status"))?;
    Ok(())
}

/// Renews the lease and tells what there is to know until shutdown.
///
/// # Errors
/// None that is not retried.
pub fn run(client: Client, node: Node, reports: Reports, shutdown: Triggered) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let end = pin!(shutdown);
        let known = keep_known(&client, &node, reports.clone());
        let (renewing, telling) = (keep_renewing(&client, &node), keep_telling(&client, &node, reports));
        tokio::select! {
            () = end => {}
            _ = async { tokio::join!(renewing, telling, known) } => {}
        }
        Ok(())
    })
}

/// Tells of every outage of the store that is over, as an Event on the node, until shutdown: while there is one nothing can be written down.
///
/// # Errors
/// None that is not retried.
pub fn tell_outages(
    client: Client,
    node: String,
    mut outages: BoxStream<'static, String>,
    shutdown: Triggered,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let (notes, writing) = Notes::new(client.clone(), "node", &node);
        let telling = async {
            while let Some(outage) = outages.next().await {
                let known = Api::<MeshNode>::all(client.clone()).get(&node).await;
                // Who has just removed it does not read its Events.
                notes
                    .publish(&known.unwrap_or_else(|_| MeshNode::new(&node, MeshNodeSpec::default())), Note::warning(STORE_OUTAGE, outage));
            }
            std::future::pending::<()>().await;
        };
        let (end, work) = (pin!(shutdown), pin!(async { tokio::join!(telling, writing) }));
        futures::future::select(end, work).await;
        Ok(())
    })
}

async fn keep_renewing(client: &Client, node: &Node) {
    loop {
        tokio::time::sleep(RENEW).await;
        if let Err(error) = renew(client, node).await {
            tracing::warn!(%error, "the node's lease could not be renewed; it is tried again");
        }
    }
}

/// Makes the node's object and its Lease again when somebody has removed one: without them nothing is placed here any more.
async fn keep_known(client: &Client, node: &Node, mut reports: Reports) {
    let named = |name: &str| (Config::default().fields(&format!("metadata.name={name}")), BTreeSet::from([name.to_owned()]));
    let ((nodes, of_nodes), (leases, of_leases)) = (named(&node.name), named(&lease_name(&node.name)));
    let mut gone = stream::select(
        absences::<MeshNode>(Api::all(client.clone()), nodes, of_nodes, "node"),
        absences::<Lease>(Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE), leases, of_leases, "node"),
    );
    while gone.next().await.is_some() {
        tracing::warn!(node = node.name, "the MeshNode or its Lease was removed; both are made again");
        while let Err(error) = announce(client, node, &reports.now()).await {
            tracing::warn!(%error, "the MeshNode could not be made again; it is tried again");
            tokio::time::sleep(AGAIN).await;
        }
    }
}

async fn keep_telling(client: &Client, node: &Node, mut reports: Reports) {
    let mut told = Report::FINE;
    loop {
        let now = reports.now();
        if now != told {
            now.log(&told);
            if let Err(error) = update_status(client, node, &now).await {
                tracing::warn!(%error, "the node's status could not be written; it is tried again");
                tokio::time::sleep(RENEW).await;
                continue;
            }
            told = now;
        }
        if reports.changed().await.is_err() {
            return;
        }
    }
}

async fn renew(client: &Client, node: &Node) -> Result<(), Error> {
    let all: Api<Lease> = Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE);
    let name = lease_name(&node.name);
    let mut lease = Lease::default();
    lease.metadata.name = Some(name.clone());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(node.name.clone()),
        lease_duration_seconds: Some(leases::DURATION_SECONDS),
        renew_time: Some(MicroTime(clock::now())),
        ..LeaseSpec::default()
    });
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    all.patch(&name, &params, &Patch::Apply(&lease)).await.map_err(api("renew the node's Lease"))?;
    Ok(())
}
