//! Clients that take nothing of what they are sent.
use std::time::Duration;

use mesh_router::drain::Drains;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::fixture::Rig;
use mesh_gear::{
    client::{Client, eventually, soon},
    instance::{Instance, head, raw},
    objects::{ENDING, READY, service, slice},
};

const SIZE: usize = 64 << 20;

/// An instance that answers with more than any buffer takes.
async fn huge() -> Instance {
    raw("a", CancellationToken::new(), |mut io: TcpStream| async move {
        while head(&mut io).await.is_some() {
            let _ = io.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes()).await;
            let part = vec![b'x'; 1 << 20];
            for _ in 0..SIZE / part.len() {
                if io.write_all(&part).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// A client that has asked, and reads no more than the begin of the answer.
async fn asked(rig: &Rig) -> Client {
    let mut client = rig.client().await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut first = [0; 512];
    soon("the begin of the answer", client.0.read_exact(&mut first)).await.unwrap();
    client
}

fn holds(rig: &Rig, connections: usize) -> bool {
    rig.metrics.render().contains(&format!("mesh_router_connections {connections}\n"))
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place_and_one_that_reads_slowly_does_not() {
    let a = huge().await;
    let mut rig = Rig::new();
    rig.settings.limits.send = Some(Duration::from_secs(1));
    rig.publish(&[service("web", json!({}))], &[slice("web", &a, READY, 1)]);
    let silent = asked(&rig).await;
    let mut slow = asked(&rig).await;
    let mut left = SIZE;
    let mut part = vec![0; 1 << 20];
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        left -= slow.0.read(&mut part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eventually("the one that reads nothing is gone", || holds(&rig, 1)).await;
    drop(silent);
    soon("all of the answer", async {
        // Of what was read first, some was the head.
        while left > 512 {
            let read = slow.0.read(&mut part).await.unwrap();
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_neither_shutdown_nor_the_end_of_its_instance() {
    let a = huge().await;
    let mut rig = Rig::new();
    let services = [service("web", json!({ "drain": { "timeout": "10s" } }))];
    rig.publish(&services, &[slice("web", &a, READY, 1)]);
    let mut silent = asked(&rig).await;
    // The instance is to end: at its deadline nobody waits for the client any more.
    let table = rig.publish(&services, &[slice("web", &a, ENDING, 2)]);
    let (mut drains, now) = (Drains::default(), Instant::now());
    drains.update(&table, now);
    drains.step(now);
    assert!(holds(&rig, 1));
    drains.step(now + Duration::from_secs(10));
    eventually("the client of the instance is gone", || holds(&rig, 0)).await;
    let live = table.services[0].endpoints[0].live.clone();
    eventually("nothing is under way", || live.in_flight() == 0).await;
    let _ = silent.0.shutdown().await;

    // The service is gone.
    let b = huge().await;
    rig.publish(&services, &[slice("web", &b, READY, 3)]);
    let silent = asked(&rig).await;
    let table = rig.publish(&[], &[]);
    let departed = table.departed.iter().find(|departed| departed.endpoint.address == b.address).unwrap().endpoint.live.clone();
    drains.update(&table, now);
    drains.step(now + Duration::from_secs(30));
    eventually("nothing is under way at what is gone", || departed.in_flight() == 0).await;
    drop(silent);

    // The router ends.
    rig.publish(&services, &[slice("web", &b, READY, 4)]);
    let _silent = asked(&rig).await;
    let begun = Instant::now();
    rig.stop.cancel();
    soon("the workers end", rig.serving.join_next()).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
