//! A router of the test's own: a proxy with two workers, tables published by hand; and a client that speaks raw HTTP/1.1.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use mesh_controller::{
    api::MeshService,
    kit::metrics::Metrics,
    router::{
        affinity::KeyRing,
        health::Health,
        listener,
        metrics::RouterMetrics,
        proxy::Proxy,
        settings::Settings,
        table::{RouteTable, build},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::instance::Instance;

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

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
        serving.spawn(async move { server.serve(listeners, end, Duration::from_secs(5)).await.unwrap() });
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

/// A service in `default`; it takes `/` unless `spec` has a route.
pub(crate) fn service(name: &str, spec: Value) -> MeshService {
    let mut all = json!({ "command": ["x"], "route": "/" });
    if spec.get("routes").is_some() {
        all.as_object_mut().unwrap().remove("route");
    }
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let metadata =
        json!({ "name": name, "namespace": "default", "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-01T00:00:00Z" });
    serde_json::from_value(
        json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": metadata, "spec": all }),
    )
    .unwrap()
}

/// Conditions of an endpoint: (ready, serving, terminating).
pub(crate) type Conditions = (bool, bool, bool);
pub(crate) const READY: Conditions = (true, true, false);
pub(crate) const UNREADY: Conditions = (false, false, false);
pub(crate) const ENDING: Conditions = (false, true, true);

/// A slice of `default/<service>` for one instance.
pub(crate) fn slice(service: &str, instance: &Instance, (ready, serving, terminating): Conditions, revision: u64) -> EndpointSlice {
    serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-mesh-{}", instance.name), "namespace": "default", "resourceVersion": revision.to_string(),
            "labels": { "kubernetes.io/service-name": service, "app.kubernetes.io/managed-by": "mesh-controller" },
        },
        "ports": [{ "port": instance.address.port() }],
        "endpoints": [{
            "addresses": [instance.address.ip().to_string()],
            "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
            "nodeName": "n1",
            "targetRef": { "kind": "MeshInstance", "namespace": "default", "name": instance.name, "uid": format!("uid-{}", instance.name) },
        }],
    }))
    .unwrap()
}

pub(crate) fn ready(instances: &[&Instance]) -> Vec<EndpointSlice> {
    instances.iter().map(|instance| slice("web", instance, READY, 1)).collect()
}

/// A raw connection.
pub(crate) struct Client(pub(crate) TcpStream);

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }
}

impl Client {
    pub(crate) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    pub(crate) async fn send(&mut self, text: &str) -> Answer {
        self.write(text).await;
        self.read(!text.starts_with("HEAD")).await
    }

    /// One response: by its length, its chunks, or the end of the stream.
    pub(crate) async fn read(&mut self, with_body: bool) -> Answer {
        let head = soon("a response's head", self.until("\r\n\r\n")).await;
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no response: {head:?}")).parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        if !with_body || status == 101 || status == 100 || status == 304 {
            return answer;
        }
        answer.body = match (answer.header("content-length"), answer.header("transfer-encoding")) {
            (Some(length), _) => {
                let mut body = vec![0; length.parse().unwrap()];
                soon("a body", self.0.read_exact(&mut body)).await.unwrap();
                String::from_utf8(body).unwrap()
            }
            (None, Some(_)) => soon("chunks", self.chunks()).await,
            (None, None) => soon("the end", self.rest()).await,
        };
        answer
    }

    async fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut byte = [0];
            if self.0.read(&mut byte).await.unwrap_or(0) == 0 {
                break;
            }
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }

    async fn chunks(&mut self) -> String {
        let mut body = String::new();
        loop {
            let line = self.until("\r\n").await;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            self.0.read_exact(&mut chunk).await.unwrap();
            if length == 0 {
                return body;
            }
            body.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
    }

    /// All until the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = Vec::new();
        // A reset is an end as well.
        let _ = self.0.read_to_end(&mut text).await;
        String::from_utf8(text).unwrap()
    }
}
