//! Requests through the router: matched, spread, passed on, answered.
use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::fixture::Rig;
use mesh_gear::{
    client::{eventually, soon},
    instance::{head, instance, raw},
    objects::{READY, ready, service, slice},
};

#[tokio::test]
async fn requests_are_spread_over_ready_instances_one_after_the_other() {
    let (a, b, c) = (instance("a").await, instance("b").await, instance("c").await);
    let rig = Rig::serving(&[&a, &b, &c]);
    for _ in 0..30 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert_eq!([a.served(), b.served(), c.served()], [10, 10, 10]);
}

#[tokio::test]
async fn least_connections_prefers_the_one_with_nothing_under_way() {
    let (a, b) = (instance("a").await, instance("b").await);
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({ "strategy": "LeastConnections" }))], &ready(&[&a, &b]));
    let mut slow = rig.client().await;
    slow.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request is there", || a.served() + b.served() == 1).await;
    let (busy, free) = if a.served() == 1 { (&a, &b) } else { (&b, &a) };
    for _ in 0..10 {
        assert_eq!(rig.get("/").await.body, free.name);
    }
    assert_eq!(busy.served(), 1);
    busy.slow.add_permits(1);
    assert_eq!(slow.read(true).await.body, busy.name);
}

#[tokio::test]
async fn the_host_and_the_longest_prefix_on_a_segment_border_decide() {
    let all: Vec<_> = futures::future::join_all(["root", "api", "v2", "shop", "star"].map(instance)).await;
    let [root, api, v2, shop, star] = &all[..] else { unreachable!() };
    let mut rig = Rig::new();
    let services = [
        service("root", json!({})),
        service("api", json!({ "route": "/api" })),
        service("v2", json!({ "route": "/api/v2/" })),
        service("shop", json!({ "routes": [{ "hostnames": ["shop.example"], "path": "/cart" }] })),
        service("star", json!({ "routes": [{ "hostnames": ["*.shop.example"] }] })),
    ];
    let slices = [("root", root), ("api", api), ("v2", v2), ("shop", shop), ("star", star)].map(|(name, i)| slice(name, i, READY, 1));
    rig.publish(&services, &slices);
    for (host, path, answered) in [
        ("a", "/", "root"),
        ("a", "/apix", "root"),
        ("a", "/api", "api"),
        ("a", "/api?x=1", "api"),
        ("a", "/api/x", "api"),
        ("a", "/api/v2", "v2"),
        ("a", "/api/v2/deep/er", "v2"),
        ("a", "/api/v21", "api"),
        ("a", "/api/v2//deep%2Fer;x=1", "v2"),
        ("a", "/api/http://elsewhere", "api"),
        ("shop.example", "/cart/1", "shop"),
        ("SHOP.Example:8080", "/cart", "shop"),
        ("shop.example", "/api", "api"),
        ("x.shop.example", "/api", "star"),
        ("x.y.shop.example", "/", "star"),
    ] {
        let answer = rig.client().await.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.body, answered, "{host} {path}");
    }
    for path in [
        "/api/../x",
        "/api/%2e%2e/x",
        "/x%2F..%2Fapi",
        "/a\\..\\b",
        "//api/admin",
        "http://a//api/admin",
        "/%2Fapi/admin",
        "/%61pi",
        "/api//v2",
        "/api%2Fv2",
        "/api;x=1/v2",
    ] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status, answer.header("x-mesh-error")), (400, Some("AmbiguousPath")), "{path}");
    }
}

#[tokio::test]
async fn of_two_services_with_one_claim_the_older_gets_it() {
    let (old, new) = (instance("old").await, instance("new").await);
    let mut rig = Rig::new();
    let mut younger = service("a-new", json!({}));
    younger.metadata.creation_timestamp = Some(serde_json::from_value(json!("2026-02-01T00:00:00Z")).unwrap());
    rig.publish(&[younger, service("z-old", json!({}))], &[slice("z-old", &old, READY, 1), slice("a-new", &new, READY, 1)]);
    assert_eq!(rig.get("/").await.body, "old");
}

#[tokio::test]
async fn what_has_no_answer_says_why_and_for_whom() {
    let mut rig = Rig::new();
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.header("x-mesh-error"), answer.header("retry-after")), (503, Some("NotSynced"), Some("1")));
    rig.publish(&[service("api", json!({ "route": "/api" }))], &[]);
    let answer = rig.get("/other").await;
    assert_eq!((answer.status, answer.header("x-mesh-error"), answer.header("x-mesh-service")), (404, Some("NoRoute"), None));
    let answer = rig.get("/api").await;
    assert_eq!(
        (answer.status, answer.header("x-mesh-error"), answer.header("x-mesh-service")),
        (503, Some("NoReadyEndpoint"), Some("default/api"))
    );
    assert_eq!(answer.body, "mesh: 503 no ready endpoint for default/api\n");
    let gone = instance("gone").await;
    let nobody = slice("api", &gone, READY, 1);
    drop(gone);
    rig.publish(&[service("api", json!({ "route": "/api" }))], &[nobody]);
    let answer = rig.get("/api").await;
    assert_eq!((answer.status, answer.header("x-mesh-error")), (502, Some("ConnectFailed")));
}

#[tokio::test]
async fn a_late_response_is_a_504() {
    let a = instance("a").await;
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({ "timeouts": { "request": "200ms" } }))], &ready(&[&a]));
    let answer = rig.get("/never").await;
    assert_eq!((answer.status, answer.header("x-mesh-error")), (504, Some("UpstreamTimeout")));
    eventually("nothing is under way", || rig.metrics.render().contains("mesh_router_in_flight 0")).await;
}

#[tokio::test]
async fn an_instance_that_does_not_connect_is_passed_by() {
    let (a, dead) = (instance("a").await, instance("dead").await);
    let slices = ready(&[&a, &dead]);
    drop(dead);
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({}))], &slices);
    for _ in 0..20 {
        let mut client = rig.client().await;
        let answer = client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    }
    let text = rig.metrics.render();
    assert!(text.contains(r#"mesh_router_upstream_errors_total{kind="connect"} 1"#), "ejected after the first failure:\n{text}");
}

#[tokio::test]
async fn the_end_of_an_instance_under_load_costs_the_requests_that_it_had_and_no_other() {
    let (a, b) = (instance("a").await, instance("b").await);
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({}))], &ready(&[&a, &b]));
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(rig.client().await);
    }
    let mut b = Some(b);
    let mut lost = 0;
    for round in 0..60 {
        if round == 20 {
            // All its connections end in the middle of what they do, as by kill -9.
            b = None;
        }
        for client in &mut clients {
            client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        }
        for client in &mut clients {
            let answer = client.read(true).await;
            if round == 20 && answer.status == 502 {
                // It may be the one that ended it: no other instance gets it.
                assert!(answer.header("x-mesh-error").unwrap().starts_with("Upstream"), "{}", answer.head);
                lost += 1;
            } else {
                assert_eq!(answer.status, 200, "round {round}");
            }
        }
    }
    assert!(lost <= 8, "one for each connection at most");
    drop(b);
}

#[tokio::test]
async fn a_connection_carries_many_requests_also_pipelined_ones() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let mut client = rig.client().await;
    for _ in 0..5 {
        assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.body, "a");
    }
    client.write("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for body in ["a", "hi", "a"] {
        assert_eq!(client.read(true).await.body, body);
    }
    let text = rig.metrics.render();
    assert!(text.contains(r#"mesh_router_requests_total{namespace="default",service="web",code="2xx"} 8"#), "{text}");
}

#[tokio::test]
async fn head_http_1_0_and_chunks_work() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let mut client = rig.client().await;
    let answer = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1")));
    let answer = client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "abcde"));
    let mut old = rig.client().await;
    old.write("GET /headers HTTP/1.0\r\n\r\n").await;
    let all = soon("the end of an HTTP/1.0 response", old.rest()).await;
    assert!(all.starts_with("HTTP/1.0 200") && all.contains("host: 127.0.0.1:"), "{all}");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let mut client = rig.client().await;
    client.write("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.write("5\r\nfirst\r\n").await;
    let mut seen = Vec::new();
    soon("the first chunk comes back while the request goes on", async {
        while !seen.windows(5).any(|w| w == b"first") {
            let mut part = [0; 1024];
            let read = client.0.read(&mut part).await.unwrap();
            seen.extend_from_slice(&part[..read]);
        }
    })
    .await;
    client.write("0\r\n\r\n").await;
    let big = vec![b'x'; 8 << 20];
    let mut other = rig.client().await;
    other.write(&format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", big.len())).await;
    let (mut read, mut write) = other.0.split();
    soon("8 MiB and back", async {
        let put = async { write.write_all(&big).await.unwrap() };
        let got = async {
            let (mut back, mut part) = (0, vec![0; 1 << 20]);
            while back < big.len() {
                let n = read.read(&mut part).await.unwrap();
                assert!(n > 0, "the stream ended after {back} bytes");
                back += part[..n].iter().map(|byte| usize::from(*byte == b'x')).sum::<usize>();
            }
        };
        tokio::join!(put, got);
    })
    .await;
}

#[tokio::test]
async fn the_instance_learns_of_the_client_and_not_of_its_claims() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let request = "GET /headers HTTP/1.1\r\nHost: shop.example\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nConnection: X-Hop, Host\r\nX-Hop: 1\r\nTE: trailers\r\n\r\n";
    let answer = rig.client().await.send(request).await;
    assert_eq!(
        answer.body,
        "connection: te\nhost: shop.example\nte: trailers\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: shop.example\nx-forwarded-proto: http"
    );
}

#[tokio::test]
async fn a_trailer_that_says_what_the_head_decided_does_not_reach_the_instance_and_another_one_does() {
    let (got, mut trailers) = mpsc::unbounded_channel();
    let a = raw("a", CancellationToken::new(), move |mut io: TcpStream| {
        let got = got.clone();
        async move {
            head(&mut io).await.unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") {
                text.push(io.read_u8().await.unwrap());
            }
            got.send(String::from_utf8(text).unwrap()).unwrap();
            let _ = io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let rig = Rig::serving(&[&a]);
    let body = "2\r\nhi\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\nHost: evil.example\r\nAuthorization: Basic eA==\r\nX-Checksum: 1\r\n\r\n";
    // hyper sends on those trailers only that were announced.
    let announced = "Trailer: X-Forwarded-For, Host, Authorization, X-Checksum";
    let mut client = rig.client().await;
    let answer = client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{announced}\r\n\r\n{body}")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(soon("the body", trailers.recv()).await.unwrap(), "2\r\nhi\r\n0\r\nx-checksum: 1\r\n\r\n");
}

#[tokio::test]
async fn at_shutdown_what_is_under_way_is_answered_and_idle_connections_end() {
    let a = instance("a").await;
    let mut rig = Rig::serving(&[&a]);
    let (mut idle, mut fresh, mut busy, mut late) = (rig.client().await, rig.client().await, rig.client().await, rig.client().await);
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    busy.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request is there", || a.served() == 2).await;
    eventually("all are accepted", || rig.metrics.render().contains("mesh_router_connections 4")).await;
    rig.stop.cancel();
    let answer = late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close")),
        "whoever had connected and not asked yet gets an answer"
    );
    assert_eq!(soon("the idle connection ends", idle.rest()).await, "");
    assert_eq!(soon("one that has not begun ends", fresh.rest()).await, "");
    a.slow.add_permits(1);
    let answer = busy.read(true).await;
    assert_eq!((answer.status, answer.header("connection"), answer.body.as_str()), (200, Some("close"), "a"));
    soon("the workers end", rig.serving.join_next()).await.unwrap().unwrap();
    assert!(TcpStream::connect(rig.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn slow_heads_and_idle_connections_end_in_time_and_too_many_at_once() {
    let a = instance("a").await;
    let mut rig = Rig::new();
    rig.settings.limits.header = Some(Duration::from_millis(200));
    rig.settings.limits.idle = Some(Duration::from_millis(200));
    rig.settings.max_connections = 2;
    rig.publish(&[service("web", json!({}))], &ready(&[&a]));
    let mut slow = rig.client().await;
    slow.write("GET / HTTP/1.1\r\nHo").await;
    assert_eq!(slow.read(true).await.status, 408);
    let mut idle = rig.client().await;
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(soon("the idle connection ends", idle.rest()).await, "");
    drop(slow);
    eventually("none is left", || rig.metrics.render().contains("mesh_router_connections 0")).await;
    let (mut one, mut two) = (rig.client().await, rig.client().await);
    one.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    two.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("two are busy", || a.served() == 3).await;
    assert_eq!(soon("the third is closed", rig.client().await.rest()).await, "");
    a.slow.add_permits(2);
    assert_eq!((one.read(true).await.status, two.read(true).await.status), (200, 200));
}
