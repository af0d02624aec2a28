//! Bodies and answers that are not as they must be: who is at fault is told so, and nobody else is blamed. And clients that end their side first.
use std::{net::Shutdown, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::fixture::Rig;
use mesh_gear::{
    client::{Client, eventually, soon},
    instance::{head, instance, raw},
};

/// No failure of an instance was counted.
fn blames_nobody(rig: &Rig) -> bool {
    !rig.metrics.render().lines().any(|line| line.starts_with("mesh_router_upstream_errors") && !line.ends_with(" 0"))
}

#[tokio::test]
async fn a_malformed_chunk_is_its_clients_fault_and_told_so() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhello\r\nzz\r\n"] {
        let mut client = rig.client().await;
        client.write(&format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")).await;
        let answer = soon("an answer", client.read(true)).await;
        assert_eq!((answer.status, answer.header("x-mesh-error")), (400, Some("BadRequestBody")), "{body:?}: {}", answer.body);
        assert_eq!(soon("the end", client.rest()).await, "");
    }
    assert!(blames_nobody(&rig), "{}", rig.metrics.render());
}

#[tokio::test]
async fn an_answer_of_the_routers_own_says_that_the_connection_ends_where_a_body_is_left_unread() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let mut client = rig.client().await;
    client.write("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(soon("an answer", client.read(true)).await.header("connection"), None);
    for length in [5, 50_000] {
        let mut client = rig.client().await;
        client.write(&format!("POST /%zz HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))).await;
        let answer = soon("an answer", client.read(true)).await;
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
        assert_eq!(soon("the end", client.rest()).await, "");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_its_body_is_no_failure_of_the_instance() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    for framing in ["Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"] {
        let mut client = rig.client().await;
        client.write(&format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framing}")).await;
        eventually("the request to be there", || a.served() > 0).await;
        drop(client);
    }
    eventually("the requests to end", || rig.metrics.render().contains("mesh_router_connections 0")).await;
    assert!(blames_nobody(&rig), "{}", rig.metrics.render());
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_gets_its_answer() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    for request in ["GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let served = a.served();
        let mut client = rig.client().await;
        client.write(request).await;
        SockRef::from(&client.0).shutdown(Shutdown::Write).unwrap();
        let count = request.matches("GET").count();
        eventually("the requests to be there", || a.served() == served + count).await;
        a.slow.add_permits(1);
        for _ in 0..count {
            assert_eq!(soon("an answer", client.read(true)).await.status, 200);
        }
        assert_eq!(soon("the end", client.rest()).await, "");
    }
}

/// An instance that answers each request with this text, and then closes.
async fn saying(answer: String) -> mesh_gear::instance::Instance {
    raw("odd", CancellationToken::new(), move |mut io: TcpStream| {
        let answer = answer.clone();
        async move {
            while head(&mut io).await.is_some() {
                if io.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_whose_end_can_be_read_in_two_ways_is_a_502_that_says_so_and_its_connection_is_not_used_again() {
    let chunks = "2\r\nhi\r\n0\r\n\r\n";
    for (framing, why) in [
        (format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), "both Content-Length"),
        (format!("Transfer-Encoding: gzip, chunked\r\n\r\n{chunks}"), "not exactly chunked"),
        (format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"), "not exactly chunked"),
        ("Transfer-Encoding: identity\r\n\r\nhi".to_owned(), "not exactly chunked"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!".to_owned(), "malformed"),
        (format!("{}\r\n", "X: y\r\n".repeat(101)), "more than 100 fields"),
    ] {
        let odd = saying(format!("HTTP/1.1 200 OK\r\n{framing}")).await;
        let rig = Rig::serving(&[&odd]);
        for _ in 0..2 {
            let answer = soon("an answer", rig.get("/")).await;
            assert_eq!((answer.status, answer.header("x-mesh-error")), (502, Some("UpstreamProtocol")), "{framing:?}");
            assert!(answer.body.contains(why), "{framing:?}: {}", answer.body);
        }
    }
}

/// An instance that asks for the body, or not, before it answers with what it got.
async fn asking(asks: bool) -> mesh_gear::instance::Instance {
    raw("asking", CancellationToken::new(), move |mut io: TcpStream| async move {
        let Some(request) = head(&mut io).await else { return };
        let expects = request.to_ascii_lowercase().contains("\r\nexpect: 100-continue\r\n");
        let answer = if !expects {
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnone".to_owned()
        } else if asks {
            io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            let mut body = [0; 5];
            io.read_exact(&mut body).await.unwrap();
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", String::from_utf8_lossy(&body))
        } else {
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n".to_owned()
        };
        let _ = io.write_all(answer.as_bytes()).await;
        // Nothing more is to come: the body of a request that was refused never does.
        let mut more = Vec::new();
        let _ = io.read_to_end(&mut more).await;
        assert!(more.is_empty(), "{more:?}");
    })
    .await
}

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn a_body_that_waits_for_100_is_asked_for_by_the_instance_and_by_nobody_before() {
    let asking_one = asking(true).await;
    let rig = Rig::serving(&[&asking_one]);
    let mut client = rig.client().await;
    client.write(EXPECTING).await;
    assert_eq!(soon("the word to go on", client.read(false)).await.status, 100);
    client.write("hello").await;
    let answer = soon("an answer", client.read(true)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
}

#[tokio::test]
async fn an_instance_that_refuses_before_the_body_is_heard_and_the_body_never_asked_for() {
    let refusing = asking(false).await;
    let rig = Rig::serving(&[&refusing]);
    let mut client = rig.client().await;
    client.write(EXPECTING).await;
    assert_eq!(soon("the refusal", client.read(true)).await.status, 413);
    assert_eq!(soon("the end", client.rest()).await, "");
    assert!(blames_nobody(&rig), "{}", rig.metrics.render());
}

#[tokio::test]
async fn an_instance_that_knows_nothing_of_100_gets_the_body_a_moment_later() {
    let silent = raw("silent", CancellationToken::new(), |mut io: TcpStream| async move {
        let Some(_) = head(&mut io).await else { return };
        let mut body = [0; 5];
        io.read_exact(&mut body).await.unwrap();
        let _ = io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;
    let rig = Rig::serving(&[&silent]);
    let mut client = Client(TcpStream::connect(rig.address).await.unwrap());
    client.write(EXPECTING).await;
    assert_eq!(soon("the word to go on", client.read(false)).await.status, 100);
    client.write("hello").await;
    assert_eq!(soon("an answer", client.read(true)).await.body, "ok");
}

#[tokio::test]
async fn an_instance_whose_answer_is_made_of_the_body_gets_it_though_it_never_asked() {
    let echo = instance("echo").await;
    let rig = Rig::serving(&[&echo]);
    let mut client = rig.client().await;
    client.write(&EXPECTING.replace("POST /", "POST /echo")).await;
    assert_eq!(soon("the head of the answer", client.read(false)).await.status, 200);
    client.write("hello").await;
    let mut seen = Vec::new();
    soon("the body back", async {
        while !seen.ends_with(b"hello") {
            seen.push(client.0.read_u8().await.unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn a_target_that_no_uri_can_be_is_refused_with_a_reason() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    let answer = rig.client().await.send("GET /<script> HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("x-mesh-error")), (400, Some("BadRequestHead")));
    assert!(answer.body.contains("a character that no URI has"), "{}", answer.body);
}
