//! More connections than there are places, and than there are file descriptors.
use serde_json::json;

use super::fixture::Rig;
use mesh_gear::{
    client::{eventually, soon},
    instance::{Instance, instance},
    objects::{ready, service},
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A router of one worker with so many places, and its one instance.
async fn with_places(count: usize) -> (Instance, Rig) {
    let a = instance("a").await;
    let mut rig = Rig::with_workers(1);
    rig.settings.max_connections = count;
    rig.publish(&[service("web", json!({}))], &ready(&[&a]));
    (a, rig)
}

#[tokio::test]
async fn the_connection_that_has_been_idle_longest_makes_place_for_a_new_one() {
    let (a, rig) = with_places(3).await;
    let mut busy = rig.client().await;
    busy.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request is there", || a.served() == 1).await;
    let (mut first, mut second) = (rig.client().await, rig.client().await);
    first.send(GET).await;
    // The clock of idleness is a coarse one.
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    second.send(GET).await;
    for _ in 0..20 {
        let mut new = rig.client().await;
        assert_eq!(new.send(GET).await.status, 200, "nobody is refused while others are idle");
    }
    assert_eq!(soon("the first one's end", first.rest()).await, "");
    let metrics = rig.metrics.render();
    assert!(
        metrics.contains("mesh_router_connections_refused_total 0") && metrics.contains("mesh_router_connections_limit 3"),
        "{metrics}"
    );
    a.slow.add_permits(1);
    assert_eq!(busy.read(true).await.body, "a", "one that works keeps its place");
    drop(second);
}

#[tokio::test]
async fn connections_that_never_asked_make_place_too() {
    let (_a, rig) = with_places(4).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(rig.client().await);
    }
    assert_eq!(rig.get("/").await.status, 200);
    for client in silent.iter_mut().take(10) {
        assert_eq!(soon("its end", client.rest()).await, "");
    }
}

#[tokio::test]
async fn a_client_at_work_keeps_its_place_in_a_burst_of_connections_that_ask_nothing() {
    let (_a, rig) = with_places(8).await;
    let mut client = rig.client().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        assert_eq!(client.send(GET).await.status, 200);
        silent.push(rig.client().await);
        silent.push(rig.client().await);
    }
}
