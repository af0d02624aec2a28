//! Sessions: a signed cookie ties a client to an instance.
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mesh_router::affinity::KeyRing;
use serde_json::json;

use super::fixture::Rig;
use mesh_gear::{
    client::Answer,
    instance::{Instance, instance},
    objects::{ENDING, READY, ready, service, slice},
};

async fn get(rig: &Rig, cookie: Option<&str>) -> Answer {
    let cookie = cookie.map(|value| format!("Cookie: other=1; {value}\r\n")).unwrap_or_default();
    rig.client().await.send(&format!("GET /api/x HTTP/1.1\r\nHost: a\r\n{cookie}\r\n")).await
}

fn cookie(answer: &Answer) -> Option<String> {
    answer.header("set-cookie").map(|header| header.split(';').next().unwrap().to_owned())
}

fn publish(rig: &mut Rig, slices: &[EndpointSlice]) {
    rig.publish(&[service("web", json!({ "route": "/api", "strategy": "SessionAffinity" }))], slices);
}

async fn three() -> (Instance, Instance, Instance, Rig) {
    let (a, b, c) = (instance("a").await, instance("b").await, instance("c").await);
    let mut rig = Rig::new();
    publish(&mut rig, &ready(&[&a, &b, &c]));
    (a, b, c, rig)
}

#[tokio::test]
async fn a_client_stays_with_its_instance_also_when_more_are_added() {
    let (a, b, _, mut rig) = three().await;
    publish(&mut rig, &ready(&[&a]));
    let first = get(&rig, None).await;
    let header = first.header("set-cookie").unwrap();
    assert!(header.starts_with("mesh_session=v1.k1.") && header.ends_with("; Path=/api; HttpOnly; SameSite=Lax"), "{header}");
    publish(&mut rig, &ready(&[&b, &a]));
    for _ in 0..20 {
        let next = get(&rig, cookie(&first).as_deref()).await;
        assert_eq!((next.body.as_str(), next.header("set-cookie")), ("a", None));
    }
}

#[tokio::test]
async fn a_session_stays_while_its_instance_ends_and_new_ones_go_elsewhere() {
    let (a, b, _, mut rig) = three().await;
    publish(&mut rig, &ready(&[&a]));
    let session = cookie(&get(&rig, None).await).unwrap();
    let table = rig.publish(
        &[service("web", json!({ "route": "/api", "strategy": "SessionAffinity" }))],
        &[slice("web", &a, ENDING, 2), slice("web", &b, READY, 2)],
    );
    for _ in 0..10 {
        assert_eq!(get(&rig, Some(&session)).await.body, "a");
        assert_eq!(get(&rig, None).await.body, "b");
    }
    // The deadline: what the drain does then.
    table.services[0].terminating[0].live.close();
    let moved = get(&rig, Some(&session)).await;
    assert_eq!((moved.status, moved.body.as_str()), (200, "b"));
    let session = cookie(&moved).unwrap();
    let next = get(&rig, Some(&session)).await;
    assert_eq!((next.body.as_str(), next.header("set-cookie")), ("b", None));
}

#[tokio::test]
async fn a_cookie_that_is_forged_or_of_an_instance_that_is_gone_makes_a_new_session() {
    let (a, b, _, mut rig) = three().await;
    publish(&mut rig, &ready(&[&a]));
    let session = cookie(&get(&rig, None).await).unwrap();
    let forged = session.replace("v1.k1.", "v1.k1.x");
    assert!(cookie(&get(&rig, Some(&forged)).await).is_some());
    publish(&mut rig, &ready(&[&b]));
    let moved = get(&rig, Some(&session)).await;
    assert_eq!((moved.status, moved.body.as_str()), (200, "b"));
    assert_ne!(cookie(&moved).unwrap(), session);
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_still_counts() {
    let (a, b, _, mut rig) = three().await;
    let session = cookie(&get(&rig, None).await).unwrap();
    rig.settings.keys = KeyRing::new([("k1", &[7_u8; 32][..]), ("k2", &[8_u8; 32][..])]).0;
    publish(&mut rig, &ready(&[&b, &a]));
    let next = get(&rig, Some(&session)).await;
    assert_eq!(next.body, "a");
    assert!(cookie(&next).unwrap().starts_with("mesh_session=v1.k2."), "issued again by the new key");
}
