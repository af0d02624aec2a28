//! Heads that two programs could read in two ways never reach an instance.
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::fixture::Rig;
use mesh_gear::{
    client::soon,
    instance::instance,
    objects::{ready, service},
};

#[tokio::test]
async fn an_ambiguous_head_is_answered_with_400_and_the_end_of_the_connection() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    for head in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
    ] {
        for cut in [0, 10] {
            let mut client = rig.client().await;
            // In two parts as well: the gate must not depend on how the bytes come.
            client.write(&head[..cut]).await;
            tokio::task::yield_now().await;
            client.write(&head[cut..]).await;
            let answer = client.read(true).await;
            assert_eq!(
                (answer.status, answer.header("x-mesh-error"), answer.header("connection")),
                (400, Some("BadRequestHead"), Some("close")),
                "{head:?}"
            );
            assert_eq!(soon("the end", client.rest()).await, "");
        }
    }
    assert_eq!(a.served(), 0);
}

#[tokio::test]
async fn a_request_smuggled_behind_a_good_one_is_refused_after_the_good_one_was_answered() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let mut client = rig.client().await;
    client
        .write("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(client.read(true).await.body, "hi");
    assert_eq!(client.read(true).await.status, 400);
    assert_eq!(soon("the end", client.rest()).await, "");
    assert_eq!(a.served(), 1);
}

#[tokio::test]
async fn a_head_byte_by_byte_and_one_with_a_large_cookie_pass() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let mut client = rig.client().await;
    for byte in "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".chars() {
        client.write(&byte.to_string()).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.read(true).await.body, "abc");
    let large = "x".repeat(16 * 1024);
    let answer = client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {large}\r\n\r\n")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_fields_is_answered_with_431_and_the_reason() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let (large, many) = (format!("Cookie: {}\r\n", "x".repeat(80 * 1024)), "X: y\r\n".repeat(100));
    for (fields, why) in [(large, "the head is too large"), (many, "the head has more than 100 fields")] {
        let answer = rig.client().await.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        assert_eq!((answer.status, answer.header("x-mesh-error")), (431, Some("BadRequestHead")), "{why}: {}", answer.body);
        assert!(answer.body.contains(why), "{}", answer.body);
    }
    assert_eq!(a.served(), 0);
}

#[tokio::test]
async fn connect_and_other_versions_are_refused_by_their_own_status() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    for (head, status) in [("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)] {
        assert_eq!(rig.client().await.send(head).await.status, status, "{head:?}");
    }
    assert_eq!(a.served(), 0);
}

#[tokio::test]
async fn a_client_that_still_sends_gets_the_answer_and_no_reset() {
    let a = instance("a").await;
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({ "route": "/api" }))], &ready(&[&a]));
    let body = "x".repeat(512 * 1024);
    for (head, status) in [
        ("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 524288\r\n\r\n", 404),
        ("POST / HTTP/1.1\r\nContent-Length: 524288\r\n\r\n", 400),
    ] {
        let mut client = rig.client().await;
        client.write(head).await;
        // The write may fail once the router has ended: what counts is what can be read.
        let _ = client.0.write_all(body.as_bytes()).await;
        assert_eq!(client.read(true).await.status, status);
    }
}
