//! A request that an instance has had is not sent to another; one whose kept connection had ended is sent to the same once more.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::fixture::Rig;
use mesh_gear::{
    client::Answer,
    instance::{Instance, head, instance, raw},
    objects::{READY, ready, service, slice},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const BOMB: &str = "GET /bomb HTTP/1.1\r\nHost: a\r\n\r\n";

/// An instance that ends when it gets `/bomb`, and counts those.
async fn fragile(name: &str, bombs: Arc<AtomicUsize>) -> Instance {
    let dead = CancellationToken::new();
    let end = dead.clone();
    raw(name, dead, move |mut io| {
        let (bombs, end) = (bombs.clone(), end.clone());
        async move {
            while let Some(head) = head(&mut io).await {
                if head.starts_with("GET /bomb") {
                    bombs.fetch_add(1, Ordering::SeqCst);
                    end.cancel();
                    std::future::pending::<()>().await;
                }
                io.write_all(OK).await.unwrap();
            }
        }
    })
    .await
}

/// Closes the connection at each second request on it, without an answer; counts requests.
async fn forgetful(name: &str, requests: Arc<AtomicUsize>) -> Instance {
    raw(name, CancellationToken::new(), move |mut io| {
        let requests = requests.clone();
        async move {
            for n in 0..2 {
                let Some(_) = head(&mut io).await else { return };
                requests.fetch_add(1, Ordering::SeqCst);
                if n == 0 {
                    io.write_all(OK).await.unwrap();
                }
            }
        }
    })
    .await
}

fn error(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-mesh-error"))
}

#[tokio::test]
async fn a_request_that_ends_the_instance_that_gets_it_reaches_no_second_one() {
    for warm in [0, 6] {
        let bombs = Arc::new(AtomicUsize::new(0));
        let mut all = Vec::new();
        for name in ["a", "b", "c", "d"] {
            all.push(fragile(name, bombs.clone()).await);
        }
        let rig = Rig::serving(&all.iter().collect::<Vec<_>>());
        // On new connections, and on kept ones, where it could also be that they had just been closed.
        let mut client = rig.client().await;
        for _ in 0..warm {
            assert_eq!(client.send(GET).await.status, 200);
        }
        let answer = client.send(BOMB).await;
        let name = if warm == 0 { "UpstreamClosed" } else { "UpstreamEnded" };
        assert_eq!((error(&answer), bombs.load(Ordering::SeqCst)), ((502, Some(name)), 1), "{}", answer.body);
        assert!(answer.body.contains("not sent to another for default/web"), "{}", answer.body);
        for _ in 0..10 {
            assert_eq!(rig.get("/").await.status, 200, "the others live");
        }
    }
}

async fn after_a_kept_connection_ended(spec: Value, request: &str) -> (Answer, usize) {
    let requests = Arc::new(AtomicUsize::new(0));
    let a = forgetful("a", requests.clone()).await;
    let mut rig = Rig::new();
    rig.publish(&[service("web", spec)], &[slice("web", &a, READY, 1)]);
    let mut client = rig.client().await;
    assert_eq!(client.send(GET).await.status, 200);
    let answer = client.send(request).await;
    (answer, requests.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_request_whose_kept_connection_ended_is_sent_once_more_unless_the_service_says_no() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let (answer, requests) = after_a_kept_connection_ended(json!({}), GET).await;
    assert_eq!((answer.body.as_str(), requests), ("ok", 3));
    for (spec, request) in [(json!({ "retry": { "attempts": 0 } }), GET), (json!({}), POST)] {
        let (answer, requests) = after_a_kept_connection_ended(spec, request).await;
        assert_eq!((error(&answer), requests), ((502, Some("UpstreamClosed")), 2), "{request}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_takes_is_tried_elsewhere_whatever_the_service_says() {
    let (a, dead) = (instance("a").await, instance("dead").await);
    let slices = ready(&[&a, &dead]);
    drop(dead);
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({ "retry": { "attempts": 0 } }))], &slices);
    for _ in 0..4 {
        let answer = rig.client().await.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(answer.body, "hi");
    }
}
