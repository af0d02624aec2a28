//! Upgraded connections through the router.
use std::{sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use mesh_router::drain::Drains;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::Instant,
};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::frame::coding::CloseCode};

use super::fixture::Rig;
use mesh_gear::{
    client::{eventually, soon},
    instance::{Instance, instance},
    objects::{ENDING, READY, service, slice},
};

/// An instance that echoes over WebSocket, in place of `name`'s own server.
async fn echoing(name: &str) -> (Instance, JoinSet<()>) {
    let mut this = instance(name).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    this.address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut sockets = JoinSet::new();
        loop {
            let (io, _) = listener.accept().await.unwrap();
            sockets.spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(io).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (this, tasks)
}

#[tokio::test]
async fn messages_pass_both_ways_and_count_as_under_way() {
    let (a, _tasks) = echoing("a").await;
    let mut rig = Rig::new();
    let table = rig.publish(&[service("web", json!({}))], &[slice("web", &a, READY, 1)]);
    let live = table.services[0].ready[0].live.clone();
    let (mut socket, response) = tokio_tungstenite::connect_async(format!("ws://{}/ws", rig.address)).await.unwrap();
    assert_eq!(response.status(), 101);
    for size in [1, 200, 70_000] {
        let text = "x".repeat(size);
        socket.send(Message::text(text.clone())).await.unwrap();
        assert_eq!(soon("the echo", socket.next()).await.unwrap().unwrap(), Message::text(text));
    }
    assert_eq!(live.in_flight(), 1);
    socket.close(None).await.unwrap();
    while soon("the close", socket.next()).await.is_some_and(|m| m.is_ok()) {}
    drop(socket);
    eventually("nothing is under way", || live.in_flight() == 0).await;
}

#[tokio::test]
async fn at_the_drain_deadline_and_at_shutdown_a_websocket_is_told_that_the_end_goes_away() {
    let (a, _tasks) = echoing("a").await;
    let mut rig = Rig::new();
    let spec = json!({ "drain": { "timeout": "10s" } });
    rig.publish(&[service("web", spec.clone())], &[slice("web", &a, READY, 1)]);
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", rig.address)).await.unwrap();
    socket.send(Message::text("hi")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let table = rig.publish(&[service("web", spec)], &[slice("web", &a, ENDING, 2)]);
    let (mut drains, now) = (Drains::default(), Instant::now());
    drains.update(&table, now);
    let (reports, _) = drains.step(now);
    assert_eq!((reports[0].in_flight, reports[0].drained), (1, false));
    socket.send(Message::text("still open")).await.unwrap();
    assert_eq!(soon("the echo", socket.next()).await.unwrap().unwrap(), Message::text("still open"));
    drains.step(now + Duration::from_secs(10));
    going_away(&mut socket).await;
    let live = Arc::clone(&table.services[0].endpoints[0].live);
    eventually("nothing is under way", || live.in_flight() == 0).await;
    assert!(drains.step(now + Duration::from_secs(10)).0.iter().any(|report| report.drained));

    let (b, _tasks) = echoing("b").await;
    rig.publish(&[service("web", json!({}))], &[slice("web", &b, READY, 3)]);
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", rig.address)).await.unwrap();
    rig.stop.cancel();
    going_away(&mut socket).await;
    soon("the workers end", rig.serving.join_next()).await;
}

async fn going_away<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(socket: &mut tokio_tungstenite::WebSocketStream<S>) {
    match soon("a close", socket.next()).await {
        Some(Ok(Message::Close(Some(frame)))) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("no close frame: {other:?}"),
    }
}

#[tokio::test]
async fn an_instance_that_does_not_upgrade_answers_as_always_and_h2c_is_not_passed_on() {
    let a = instance("a").await;
    let rig = Rig::serving(&[&a]);
    match tokio_tungstenite::connect_async(format!("ws://{}/", rig.address)).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 200),
        other => panic!("{other:?}"),
    }
    let mut client = rig.client().await;
    let h2c = "GET /headers HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let answer = client.send(h2c).await;
    assert!(!answer.body.contains("h2c") && !answer.body.contains("settings"), "{}", answer.body);
    // What was sent behind an upgrade that was declined is a request like any other.
    client.write(&format!("{h2c}GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(client.read(true).await.status, 200);
    assert_eq!(client.read(true).await.body, "a");
}

#[tokio::test]
async fn a_wrong_accept_is_a_502() {
    let mut a = instance("a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    a.address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        assert!(io.read(&mut head).await.unwrap() > 0);
        io.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: bm90IGl0\r\n\r\nGET /evil").await.unwrap();
        std::future::pending::<()>().await;
    });
    let rig = Rig::serving(&[&a]);
    match tokio_tungstenite::connect_async(format!("ws://{}/", rig.address)).await {
        Err(Error::Http(response)) => {
            assert_eq!((response.status().as_u16(), response.headers()["x-mesh-error"].to_str().unwrap()), (502, "UpstreamProtocol"));
        }
        other => panic!("{other:?}"),
    }
}

/// Sends and receives so much at the same time.
async fn flood(address: std::net::SocketAddr) {
    const MESSAGES: usize = 48;
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
    let (mut write, mut read) = socket.split();
    let text = "x".repeat(1 << 20);
    let send = async {
        for _ in 0..MESSAGES {
            write.send(Message::text(text.clone())).await.unwrap();
        }
    };
    let receive = async {
        for _ in 0..MESSAGES {
            assert_eq!(read.next().await.unwrap().unwrap().len(), text.len());
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn both_sides_may_send_much_at_once() {
    // An echo: while it waits to be read, it reads nothing.
    let (a, _tasks) = echoing("a").await;
    let mut rig = Rig::new();
    rig.publish(&[service("web", json!({}))], &[slice("web", &a, READY, 1)]);
    tokio::time::timeout(Duration::from_secs(60), flood(rig.address)).await.expect("neither side waits for the other for ever");
}

/// A client that has an open WebSocket through the router and reads none of what the instance sends.
async fn that_does_not_read(rig: &Rig) -> tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", rig.address)).await.unwrap();
    let text = "x".repeat(1 << 20);
    // Until nothing more is taken: the echo is stuck.
    while tokio::time::timeout(Duration::from_millis(500), socket.send(Message::text(text.clone()))).await.is_ok() {}
    socket
}

#[tokio::test]
async fn a_websocket_whose_client_does_not_read_loses_its_place_and_holds_up_no_end() {
    let (a, _tasks) = echoing("a").await;
    let mut rig = Rig::new();
    rig.settings.limits.send = Some(Duration::from_secs(1));
    let table = rig.publish(&[service("web", json!({}))], &[slice("web", &a, READY, 1)]);
    let live = table.services[0].ready[0].live.clone();
    let _socket = that_does_not_read(&rig).await;
    eventually("it is cut", || live.in_flight() == 0).await;

    rig.settings.limits.send = None;
    rig.publish(&[service("web", json!({}))], &[slice("web", &a, READY, 1)]);
    let _socket = that_does_not_read(&rig).await;
    assert_eq!(live.in_flight(), 1);
    let begun = Instant::now();
    rig.stop.cancel();
    soon("the workers end", rig.serving.join_next()).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
