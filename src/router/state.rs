//! What the router knows of the API: it watches, folds what it sees into a route table, and publishes the table when something changed.
//! While the API is away the last table stays in force.
pub mod known;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use k8s_openapi::{
    ByteString,
    api::{core::v1::Secret, discovery::v1::EndpointSlice},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::{Notify, watch};

use super::{
    affinity::KeyRing,
    proxy::Proxy,
    settings::Settings,
    table::{
        RouteTable,
        build::{Carry, build},
    },
};
use crate::{
    api::{
        MeshRouter, MeshRouterSpec, MeshService,
        labels::{SLICE_MANAGED_BY, SLICE_MANAGER, SLICE_WRITTEN, SYSTEM_NAMESPACE},
    },
    kit::clock,
};
use known::Known;

/// Something that was seen.
enum Seen {
    Service(Box<Event<MeshService>>),
    Slice(Box<Event<EndpointSlice>>),
    Router(Box<Event<MeshRouter>>),
    Keys(Box<Event<Secret>>),
}

/// Everything that a table is made of.
struct World {
    services: Known<MeshService>,
    slices: Known<EndpointSlice>,
    routers: Known<MeshRouter>,
    keys: Known<Secret>,
    /// The name of the Secret that is watched.
    keys_name: Option<String>,
    /// For as long as no Secret has keys: sessions last as long as the process.
    own_key: [u8; 32],
}

/// Watches and publishes for as long as it is polled. `ready` becomes true with the first table.
pub async fn follow(
    client: Client,
    router: String,
    proxy: Arc<Proxy>,
    tables: watch::Sender<Arc<RouteTable>>,
    quiet: Arc<Notify>,
    ready: watch::Sender<bool>,
) {
    let mut world = World {
        services: Known::default(),
        slices: Known::default(),
        routers: Known::default(),
        keys: Known::default(),
        keys_name: None,
        own_key: rand::random(),
    };
    let mut carry = Carry::new(proxy.metrics.clone(), quiet);
    let mut seen = watch_all(&client, &router).ready_chunks(1024);
    let mut keys: BoxStream<'static, Vec<Seen>> = futures::stream::pending().boxed();
    loop {
        let chunk = tokio::select! {
            chunk = seen.next() => chunk,
            chunk = keys.next() => chunk,
        };
        // The streams never end; if one did, what is known stays.
        let Some(chunk) = chunk else { std::future::pending().await };
        let (changed, written) = world.take(chunk);
        if world.keys_moved() {
            keys = watch_keys(&client, world.keys_name.as_deref());
        }
        if !changed || !world.is_synced() {
            continue;
        }
        let table = Arc::new(build(world.services.iter(), world.slices.iter(), Arc::new(world.settings()), &mut carry));
        proxy.publish(table.clone());
        // All receivers gone: the router is ending.
        let _ = tables.send(table);
        ready.send_replace(true);
        let now = clock::now();
        written
            .into_iter()
            .filter_map(|at| Duration::try_from(now.duration_since(at)).ok())
            .for_each(|lag| proxy.metrics.learned.observe(lag));
    }
}

impl World {
    /// Whether something that counts changed, and when the slices among it were written.
    fn take(&mut self, chunk: Vec<Seen>) -> (bool, Vec<jiff::Timestamp>) {
        let (mut changed, mut written) = (false, Vec::new());
        for seen in chunk {
            changed |= match seen {
                Seen::Service(event) => self.services.take(*event, |a, b| {
                    a.spec == b.spec && a.metadata.deletion_timestamp == b.metadata.deletion_timestamp && a.uid() == b.uid()
                }),
                Seen::Slice(event) => {
                    if let Event::Apply(slice) = event.as_ref() {
                        written.extend(slice.annotations().get(SLICE_WRITTEN).and_then(|text| text.parse::<jiff::Timestamp>().ok()));
                    }
                    self.slices.take(*event, |a, b| a.resource_version() == b.resource_version())
                }
                Seen::Router(event) => self.routers.take(*event, |a, b| a.spec == b.spec),
                Seen::Keys(event) => self.keys.take(*event, |a, b| a.data == b.data),
            };
        }
        (changed, written)
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

fn watch_all(client: &Client, router: &str) -> BoxStream<'static, Seen> {
    let slices = watcher::Config::default().labels(&format!("{SLICE_MANAGED_BY}={SLICE_MANAGER}"));
    let this = watcher::Config::default().fields(&format!("metadata.name={router}"));
    futures::stream::select_all([
        events(Api::all(client.clone()), watcher::Config::default(), Seen::Service),
        events(Api::all(client.clone()), slices, Seen::Slice),
        events(Api::namespaced(client.clone(), SYSTEM_NAMESPACE), this, Seen::Router),
    ])
    .boxed()
}

fn watch_keys(client: &Client, name: Option<&str>) -> BoxStream<'static, Vec<Seen>> {
    let Some(name) = name else { return futures::stream::pending().boxed() };
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    events(Api::namespaced(client.clone(), SYSTEM_NAMESPACE), config, Seen::Keys).map(|seen| vec![seen]).boxed()
}

/// The events of one kind. A failure is logged and followed by a new attempt, with a growing pause.
fn events<K>(api: Api<K>, config: watcher::Config, seen: fn(Box<Event<K>>) -> Seen) -> BoxStream<'static, Seen>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let stream = watcher(api, config).default_backoff().modify(|object| object.managed_fields_mut().clear());
    stream
        .inspect_err(|error| tracing::warn!(kind = %K::kind(&()), %error, "router: watch"))
        .filter_map(move |event| futures::future::ready(event.ok().map(Box::new).map(seen)))
        .boxed()
}
