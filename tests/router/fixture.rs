//! A router of the test's own: a proxy with two workers, tables published by hand.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use mesh_api::MeshService;
use mesh_kit::metrics::Metrics;
use mesh_router::{
    affinity::KeyRing,
    health::Health,
    listener,
    metrics::RouterMetrics,
    proxy::Proxy,
    serve::serve,
    settings::Settings,
    table::{RouteTable, build},
};
use serde_json::json;
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use mesh_gear::{
    client::{Answer, Client},
    instance::Instance,
    objects::{ready, service},
};

pub(crate) struct Rig {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) address: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Metrics,
    carry: build::Carry,
    pub(crate) serving: JoinSet<()>,
}

impl Rig {
    /// A router without any table yet.
    pub(crate) fn new() -> Self {
        Self::with_workers(2)
    }

    pub(crate) fn with_workers(workers: usize) -> Self {
        let metrics = Metrics::default();
        let counted = RouterMetrics::register(&metrics, Health::default());
        let proxy = Proxy::new(counted.clone());
        let listeners = listener::bind("127.0.0.1:0".parse().unwrap(), workers).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        let (server, end) = (proxy.clone(), stop.clone());
        serving.spawn(async move { serve(&server, listeners, end, Duration::from_secs(5)).await.unwrap() });
        let settings = Settings { keys: KeyRing::new([("k1", &[7_u8; 32][..])]).0, ..Settings::default() };
        Self { proxy, address, settings, stop, metrics, carry: build::Carry::new(counted, Arc::new(Notify::new())), serving }
    }

    /// Publishes a table of these.
    pub(crate) fn publish(&mut self, services: &[MeshService], slices: &[EndpointSlice]) -> Arc<RouteTable> {
        let table = Arc::new(build::build(services, slices, Arc::new(self.settings.clone()), &mut self.carry));
        self.proxy.publish(table.clone());
        table
    }

    /// A router whose `default/web` takes everything, with these instances.
    pub(crate) fn serving(instances: &[&Instance]) -> Self {
        let mut rig = Self::new();
        rig.publish(&[service("web", json!({}))], &ready(instances));
        rig
    }

    pub(crate) async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client().await.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
