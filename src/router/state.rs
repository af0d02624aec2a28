//! What the router knows of the API: it watches, folds what it sees into a route table, and publishes the table when something changed.
//! While the API is away the last table stays in force.
pub mod known;
mod nodes;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{Node, Secret},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::watcher::{self, Event},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{known::Known, nodes::Nodes};
use super::{
    RouterOptions,
    affinity::KeyRing,
    health::Health,
    proxy::Proxy,
    settings::Settings,
    table::{
        RouteTable,
        build::{Carry, Key, near::Here, service_of},
    },
};
use mesh_api::{
    MeshRouter, MeshRouterSpec, MeshService,
    labels::{APP_MANAGED_BY, MANAGER, SLICE_TRIGGERED, SLICE_WRITTEN},
};
use mesh_kit::{
    clock,
    watch::{events, events_and_gaps},
};

/// Something that was seen.
enum Seen {
    Service(Box<Event<MeshService>>),
    Slice(Box<Event<EndpointSlice>>),
    Router(Box<Event<MeshRouter>>),
    Keys(Box<Event<Secret>>),
    /// Nothing if the watch failed.
    Node(Box<Option<Event<Node>>>),
    /// The watch of services, slices or settings failed.
    Gap,
}

/// Everything that a table is made of.
struct World {
    services: Known<MeshService>,
    slices: Known<EndpointSlice>,
    routers: Known<MeshRouter>,
    keys: Known<Secret>,
    nodes: Nodes,
    /// The name of the Secret that is watched.
    keys_name: Option<String>,
    /// For as long as no Secret has keys: sessions last as long as the process.
    own_key: [u8; 32],
    settings: Arc<Settings>,
    /// What is to be made anew.
    stale: Stale,
}

/// What changed since the last table.
#[derive(Debug, Default)]
struct Stale {
    services: HashSet<Key>,
    /// Every service.
    all: bool,
    /// Where requests may go, by the nodes.
    nodes: bool,
    settings: bool,
    /// When the slices among it were written.
    written: Vec<Timestamp>,
}

/// Watches and publishes for as long as it is polled; not before `leased`. `ready` becomes true with the first table.
pub async fn follow(
    client: Client,
    options: &RouterOptions,
    leased: CancellationToken,
    proxy: Arc<Proxy>,
    tables: &watch::Sender<Arc<RouteTable>>,
    quiet: Arc<Notify>,
    ready: watch::Sender<bool>,
) {
    let mut world = World::new(Here { zone: options.zone.clone(), node: options.node.clone() });
    let mut carry = Carry::new(proxy.metrics.clone(), quiet);
    let mut seen = watch_all(&client, options).ready_chunks(1024);
    let mut keys: BoxStream<'static, Vec<Seen>> = futures::stream::pending().boxed();
    // Where many things change at once, half of the time is left for other work: the next table waits for as long as the last one took to make.
    let mut not_before = Instant::now();
    loop {
        let is_leased = leased.is_cancelled();
        let returned = world.nodes.next();
        let waits = is_leased && world.is_synced() && !world.stale.is_none();
        let chunk = tokio::select! {
            chunk = seen.next() => chunk,
            chunk = keys.next() => chunk,
            () = tokio::time::sleep_until(not_before), if waits => Some(Vec::new()),
            () = leased.cancelled(), if !is_leased => Some(Vec::new()),
            () = tokio::time::sleep_until(returned.unwrap_or(not_before)), if returned.is_some() => {
                world.nodes.settle(Instant::now());
                world.stale.nodes = true;
                Some(Vec::new())
            }
        };
        // The streams never end; if one did, what is known stays.
        let Some(chunk) = chunk else { std::future::pending().await };
        note(&chunk, &options.health);
        world.take(chunk);
        if world.keys_moved() {
            keys = watch_keys(&client, &options.namespace, world.keys_name.as_deref());
        }
        let begun = Instant::now();
        if !leased.is_cancelled() || !world.is_synced() || world.stale.is_none() || begun < not_before {
            continue;
        }
        let (table, written) = world.table(&mut carry);
        let table = Arc::new(table);
        proxy.publish(table.clone());
        tables.send_replace(table);
        ready.send_replace(true);
        not_before = Instant::now() + begun.elapsed();
        let now = clock::now();
        written
            .into_iter()
            .filter_map(|at| Duration::try_from(now.duration_since(at)).ok())
            .for_each(|lag| proxy.metrics.learned.observe(lag));
    }
}

impl Stale {
    fn is_none(&self) -> bool {
        self.services.is_empty() && !self.all && !self.nodes && !self.settings
    }

    fn slice(&mut self, old: Option<&EndpointSlice>, new: Option<&EndpointSlice>) {
        for (namespace, service) in [old, new].into_iter().flatten().filter_map(service_of) {
            self.services.insert((namespace.to_owned(), service.to_owned()));
        }
        // What was there before the router, or is there again, says nothing about how late it learns.
        if let (Some(time), true) = (new.and_then(written), old.and_then(written) != new.and_then(written)) {
            self.written.push(time);
        }
    }
}

fn key(service: &MeshService) -> Key {
    (service.namespace().unwrap_or_default(), service.name_any())
}

/// When a slice was written, or what it was written for happened.
fn written(slice: &EndpointSlice) -> Option<Timestamp> {
    let said = slice.metadata.annotations.as_ref()?;
    said.get(SLICE_WRITTEN).or_else(|| said.get(SLICE_TRIGGERED))?.parse().ok()
}

impl World {
    fn new(told: Here) -> Self {
        Self {
            services: Known::default(),
            slices: Known::default(),
            routers: Known::default(),
            keys: Known::default(),
            nodes: Nodes::new(told),
            keys_name: None,
            own_key: rand::random(),
            settings: Arc::default(),
            stale: Stale { settings: true, nodes: true, ..Stale::default() },
        }
    }

    fn take(&mut self, chunk: Vec<Seen>) {
        for seen in chunk {
            match seen {
                Seen::Service(event) => {
                    let same = |a: &MeshService, b: &MeshService| {
                        a.spec == b.spec && a.metadata.deletion_timestamp == b.metadata.deletion_timestamp && a.uid() == b.uid()
                    };
                    self.services.take(*event, same, |old, new| self.stale.services.extend([old, new].into_iter().flatten().map(key)));
                }
                Seen::Slice(event) => {
                    let live = matches!(event.as_ref(), Event::Apply(_));
                    let before = self.stale.written.len();
                    self.slices.take(*event, |a, b| a.resource_version() == b.resource_version(), |old, new| self.stale.slice(old, new));
                    if !live {
                        self.stale.written.truncate(before);
                    }
                }
                Seen::Router(event) => self.stale.settings |= self.routers.take(*event, |a, b| a.spec == b.spec, |_, _| {}),
                Seen::Keys(event) => self.stale.settings |= self.keys.take(*event, |a, b| a.data == b.data, |_, _| {}),
                Seen::Node(event) => self.stale.nodes |= self.nodes.take(*event, Instant::now()),
                Seen::Gap => {}
            }
        }
    }

    /// The table of now. Only what changed is made anew.
    fn table(&mut self, carry: &mut Carry) -> (RouteTable, Vec<Timestamp>) {
        let Stale { services: mut keys, mut all, nodes, settings, written } = std::mem::take(&mut self.stale);
        if settings {
            let limits = self.settings.limits;
            self.settings = Arc::new(self.settings());
            all |= limits != self.settings.limits;
        }
        if nodes && carry.nodes(self.nodes.here(), self.nodes.lost()) {
            let nodes = self.nodes.lost();
            if !nodes.is_empty() {
                tracing::info!(
                    ?nodes,
                    "router: these nodes are, or may be, lost to the cluster; of pods that are not ready those there serve if no other is"
                );
            }
            all = true;
        }
        if all {
            keys.extend(carry.services().cloned());
            keys.extend(self.services.iter().map(key));
        }
        let mut slices: HashMap<(&str, &str), Vec<&EndpointSlice>> =
            keys.iter().map(|(ns, name)| ((ns.as_str(), name.as_str()), Vec::new())).collect();
        for slice in self.slices.iter() {
            if let Some(of) = service_of(slice).and_then(|service| slices.get_mut(&service)) {
                of.push(slice);
            }
        }
        for key in &keys {
            let of = slices.remove(&(key.0.as_str(), key.1.as_str())).unwrap_or_default();
            carry.remake(key, self.services.get(&key.0, &key.1), of, &self.settings);
        }
        (carry.table(self.settings.clone()), written)
    }

    /// Whether another Secret is to be watched from now on, or none any more.
    fn keys_moved(&mut self) -> bool {
        let name = self.routers.iter().next().and_then(|router| router.spec.cookie_keys.as_ref()).map(|keys| keys.name.clone());
        if name == self.keys_name {
            return false;
        }
        self.keys = Known::default();
        self.keys_name = name;
        true
    }

    fn is_synced(&self) -> bool {
        let keys = self.keys_name.is_none() || self.keys.is_synced();
        self.services.is_synced() && self.slices.is_synced() && self.routers.is_synced() && keys
    }

    fn settings(&self) -> Settings {
        let built_in = MeshRouterSpec { max_connections: 10_000, ..MeshRouterSpec::default() };
        let spec = self.routers.iter().next().map_or(&built_in, |router| &router.spec);
        let data = self.keys.iter().next().and_then(|secret| secret.data.as_ref());
        let keys = data.into_iter().flatten().map(|(id, ByteString(key))| (id.as_str(), key.as_slice()));
        let (mut ring, refused) = KeyRing::new(keys);
        if !refused.is_empty() {
            tracing::warn!(secret = self.keys_name, keys = ?refused, "router: cookie keys need at least 32 bytes and an id of A-Z a-z 0-9 . _ -; these are not used");
        }
        if ring.is_empty() {
            tracing::warn!(
                secret = self.keys_name,
                "router: no cookie keys; sessions end with this process, and routers do not know each other's"
            );
            ring = KeyRing::new([("own", &self.own_key[..])]).0;
        }
        Settings::new(spec, ring)
    }
}

fn watch_all(client: &Client, options: &RouterOptions) -> BoxStream<'static, Seen> {
    // A cluster copies the label from the Service to its slices; those that are made on a VM have it too.
    let slices = watcher::Config::default().labels(&format!("{APP_MANAGED_BY}={MANAGER}"));
    let this = watcher::Config::default().fields(&format!("metadata.name={}", options.router));
    futures::stream::select_all([
        seen(events_and_gaps(Api::all(client.clone()), watcher::Config::default(), "router", trim), Seen::Service),
        seen(events_and_gaps(Api::all(client.clone()), slices, "router", trim), Seen::Slice),
        seen(events_and_gaps(Api::namespaced(client.clone(), &options.namespace), this, "router", trim), Seen::Router),
        // Nothing waits for these: without them requests go wherever a ready endpoint is.
        events_and_gaps(Api::all(client.clone()), watcher::Config::default(), "router", nodes::trim)
            .map(|event| Seen::Node(Box::new(event)))
            .boxed(),
    ])
    .boxed()
}

/// What a watch sees, and its failures.
fn seen<K: 'static>(events: BoxStream<'static, Option<Event<K>>>, what: fn(Box<Event<K>>) -> Seen) -> BoxStream<'static, Seen> {
    events.map(move |event| event.map_or(Seen::Gap, |event| what(Box::new(event)))).boxed()
}

/// Whether the API answers, as far as that shows.
fn note(chunk: &[Seen], health: &Health) {
    for seen in chunk {
        match seen {
            Seen::Gap => health.watch_failed(),
            Seen::Service(_) | Seen::Slice(_) | Seen::Router(_) => health.watch_works(),
            Seen::Keys(_) | Seen::Node(_) => {}
        }
    }
}

fn watch_keys(client: &Client, namespace: &str, name: Option<&str>) -> BoxStream<'static, Vec<Seen>> {
    let Some(name) = name else { return futures::stream::pending().boxed() };
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    events(Api::namespaced(client.clone(), namespace), config, "router", trim).map(|event| vec![Seen::Keys(Box::new(event))]).boxed()
}

/// Who wrote which field is nothing to a router.
fn trim<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}
