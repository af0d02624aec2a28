//! The router as a whole against a fake API: it learns by watch, holds its Lease, and acknowledges drains.
use std::{net::SocketAddr, time::Duration};

use http::Method;
use mesh_kit::{
    metrics::Metrics,
    shutdown::{Shutdown, Supervisor},
};
use mesh_router::{RouterOptions, listener};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use mesh_gear::{
    client::{Answer, Client, eventually, soon},
    fake_api::FakeApi,
    instance::{head, instance, raw},
    objects::{ENDING, READY, UNREADY, service, slice},
};

const SERVICES: &str = "/apis/mesh-controller.dev/v1alpha1/meshservices";
const NODES: &str = "/api/v1/nodes";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

struct Running {
    api: FakeApi,
    address: SocketAddr,
    metrics: Metrics,
    supervisor: Supervisor,
}

/// A router on the fake API, once it is ready.
async fn running(api: FakeApi) -> Running {
    let metrics = Metrics::default();
    let listeners = listener::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let (shutdown, supervisor) = Shutdown::new();
    let (ready, mut is_ready) = watch::channel(false);
    let options = RouterOptions {
        name: "r1".into(),
        namespace: "mesh-system".into(),
        router: "default".into(),
        zone: None,
        node: None,
        drain_address: None,
        grace: Duration::from_secs(5),
        health: mesh_router::health::Health::default(),
    };
    shutdown.spawn("router", mesh_router::run(options, api.client(), listeners, metrics.clone(), shutdown.clone(), ready, None));
    soon("the router is ready", is_ready.wait_for(|ready| *ready)).await.unwrap();
    Running { api, address, metrics, supervisor }
}

impl Running {
    async fn client(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }

    async fn get(&self, path: &str) -> Answer {
        self.client().await.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await
    }

    /// What was written about an instance, in order: (in flight, drained).
    fn reports(&self, instance: &str) -> Vec<(i64, bool)> {
        let path = format!("/apis/mesh-controller.dev/v1alpha1/namespaces/default/meshinstances/{instance}/status");
        let entries = self.api.written().into_iter().filter(|w| w.path == path);
        entries
            .map(|w| {
                let entry = &w.body["status"]["routers"][0];
                (entry["inFlight"].as_i64().unwrap(), entry["drained"].as_bool().unwrap())
            })
            .collect()
    }
}

fn written(slice: impl serde::Serialize) -> Value {
    let mut slice = serde_json::to_value(slice).unwrap();
    slice["metadata"]["annotations"] = json!({ "mesh-controller.dev/written": mesh_kit::clock::now().to_string() });
    slice
}

#[tokio::test]
async fn the_router_learns_by_watch_and_keeps_what_it_knows_while_the_api_is_away() {
    let api = FakeApi::default();
    api.put(SERVICES, service("web", json!({})));
    let router = running(api).await;
    assert_eq!(router.get("/").await.status, 503);
    let a = instance("a").await;
    router.api.put(SLICES, written(slice("web", &a, READY, 1)));
    eventually("the endpoint is learned", || router.metrics.render().contains("mesh_router_endpoint_learned_seconds_count 1")).await;
    assert_eq!(router.get("/").await.body, "a");
    router.api.away(true);
    for _ in 0..20 {
        assert_eq!(router.get("/").await.status, 200);
    }
    let lease = router.api.written().into_iter().find(|w| w.path.ends_with("/namespaces/mesh-system/leases/router-r1")).unwrap();
    assert_eq!(
        (&lease.body["spec"]["holderIdentity"], &lease.body["metadata"]["labels"]["mesh-controller.dev/router"]),
        (&json!("r1"), &json!("default"))
    );
    assert!(lease.query.contains("fieldManager=mesh-router%2Fr1"), "{}", lease.query);
    router.api.away(false);
    let api = router.api.clone();
    assert!(router.supervisor.finish(Duration::from_secs(10)).await);
    assert!(api.written().iter().any(|w| w.method == Method::DELETE && w.path.ends_with("/leases/router-r1")), "the lease is given back");
}

#[tokio::test]
async fn what_the_cluster_calls_unready_because_it_lost_the_node_serves_where_nothing_else_is_ready() {
    let node = |ready: &str| json!({ "metadata": { "name": "n1" }, "status": { "conditions": [{ "type": "Ready", "status": ready }] } });
    let (a, b) = (instance("a").await, instance("b").await);
    let api = FakeApi::default();
    api.put(NODES, node("True"));
    api.put(SERVICES, service("web", json!({})));
    api.put(SLICES, written(slice("web", &a, UNREADY, 1)));
    let router = running(api).await;
    assert_eq!(router.get("/").await.status, 503, "it says so itself");
    router.api.put(NODES, node("Unknown"));
    let mut answer = router.get("/").await;
    soon("the loss of the node is learned", async {
        while answer.status != 200 {
            answer = router.get("/").await;
        }
    })
    .await;
    assert_eq!(answer.body, "a");
    router.api.put(NODES, node("True"));
    router.api.put(SLICES, written(slice("web", &b, READY, 2)));
    eventually("the other is learned", || router.metrics.render().contains("mesh_router_endpoint_learned_seconds_count 1")).await;
    for _ in 0..20 {
        assert_eq!(router.get("/").await.body, "b");
    }
    router.api.put(SLICES, written(slice("web", &b, UNREADY, 3)));
    eventually("its end is learned", || router.metrics.render().contains("mesh_router_endpoint_learned_seconds_count 2")).await;
    assert_eq!(router.get("/").await.status, 200, "the node is back, but its word on its pods may not be there yet");
}

#[tokio::test]
async fn an_ending_instance_is_left_with_no_unused_connection_that_it_would_wait_for() {
    let ended = CancellationToken::new();
    let end = ended.clone();
    let serve = move |mut io: TcpStream| {
        let end = end.clone();
        async move {
            head(&mut io).await;
            io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await.unwrap();
            assert_eq!(io.read(&mut [0]).await.unwrap(), 0);
            end.cancel();
        }
    };
    let a = raw("a", CancellationToken::new(), serve).await;
    let api = FakeApi::default();
    api.put(SERVICES, service("web", json!({})));
    api.put(SLICES, slice("web", &a, READY, 1));
    let router = running(api).await;
    assert_eq!(router.get("/").await.body, "a");
    router.api.put(SLICES, slice("web", &a, ENDING, 2));
    // Unused ones are closed after 4 s in any case.
    tokio::time::timeout(Duration::from_secs(3), ended.cancelled()).await.expect("it is still there");
}

#[tokio::test]
async fn an_ending_instance_gets_nothing_new_and_its_drain_is_acknowledged_when_its_last_request_ended() {
    let (a, b) = (instance("a").await, instance("b").await);
    let api = FakeApi::default();
    api.put(SERVICES, service("web", json!({})));
    api.put(SLICES, slice("web", &a, READY, 1));
    let router = running(api).await;
    let mut slow = router.client().await;
    slow.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request is there", || a.served() == 1).await;
    router.api.put(SLICES, slice("web", &b, READY, 2));
    router.api.put(SLICES, slice("web", &a, ENDING, 3));
    eventually("the end was seen", || !router.reports("a").is_empty()).await;
    assert_eq!(router.reports("a"), [(1, false)]);
    for _ in 0..20 {
        assert_eq!(router.get("/").await.body, "b");
    }
    a.slow.add_permits(1);
    assert_eq!(slow.read(true).await.body, "a");
    eventually("the drain is acknowledged", || router.reports("a").last() == Some(&(0, true))).await;
    let report = router.api.written().into_iter().find(|w| w.path.ends_with("/meshinstances/a/status")).unwrap();
    assert_eq!(report.body["metadata"]["uid"], "uid-a");
    assert_eq!(
        (&report.body["status"]["routers"][0]["name"], &report.body["status"]["routers"][0]["sliceRevision"]),
        (&json!("r1"), &json!("3"))
    );
    assert!(report.query.contains("fieldManager=mesh-router%2Fr1") && report.query.contains("force=true"), "{}", report.query);
}

#[tokio::test]
async fn under_load_no_request_reaches_an_instance_after_its_drain_was_acknowledged_and_none_fails() {
    let instances = futures::future::join_all((0..6).map(|n| async move { instance(&format!("i{n}")).await })).await;
    let api = FakeApi::default();
    api.put(SERVICES, service("web", json!({})));
    api.put(SLICES, slice("web", &instances[0], READY, 1));
    let router = running(api).await;
    let mut load = JoinSet::new();
    let (stop, stopped) = watch::channel(false);
    for _ in 0..16 {
        let (mut client, stopped) = (router.client().await, stopped.clone());
        load.spawn(async move {
            let mut count = 0;
            while !*stopped.borrow() {
                let answer = client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
                assert_eq!(answer.status, 200, "{answer:?}");
                count += 1;
            }
            count
        });
    }
    for (n, pair) in instances.windows(2).enumerate() {
        let [old, new] = pair else { unreachable!() };
        let revision = 10 * (n as u64 + 1);
        router.api.put(SLICES, slice("web", new, READY, revision));
        router.api.put(SLICES, slice("web", old, ENDING, revision + 1));
        eventually("the drain is acknowledged", || router.reports(&old.name).last().is_some_and(|(_, drained)| *drained)).await;
        let served = old.served();
        eventually("the next one serves", || new.served() > 100).await;
        assert_eq!(old.served(), served, "{} got a request after its drain was acknowledged", old.name);
    }
    stop.send(true).unwrap();
    let counts = load.join_all().await;
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
async fn an_instance_to_which_no_session_was_tied_does_not_wait_for_the_deadline_and_one_with_sessions_does() {
    let (a, b, c) = (instance("a").await, instance("b").await, instance("c").await);
    let api = FakeApi::default();
    api.put(SERVICES, service("web", json!({ "strategy": "SessionAffinity", "drain": { "timeout": "1s" } })));
    api.put(SLICES, slice("web", &a, READY, 1));
    let router = running(api).await;
    let first = router.get("/").await;
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    router.api.put(SLICES, slice("web", &b, READY, 2));
    router.api.put(SLICES, slice("web", &c, ENDING, 3));
    router.api.put(SLICES, slice("web", &a, ENDING, 4));
    eventually("c is drained at once", || router.reports("c").last() == Some(&(0, true))).await;
    eventually("a waits", || !router.reports("a").is_empty()).await;
    assert_eq!(router.reports("a"), [(0, false)]);
    let back = router.client().await.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")).await;
    assert_eq!(back.body, "a");
    eventually("a is drained at the deadline", || router.reports("a").last() == Some(&(0, true))).await;
    let moved = router.client().await.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n")).await;
    assert_eq!((moved.status, moved.body.as_str()), (200, "b"));
}
