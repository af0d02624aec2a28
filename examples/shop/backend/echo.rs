//! `/api/echo`: a WebSocket that sends back what it gets. On SIGTERM it is closed with 1001 (going away), so that the client connects anew.
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use crate::server::{Ending, response};

/// Answers the opening handshake (RFC 6455, 4.2.2); the echo begins when the connection is handed over.
pub(super) fn upgrade(mut request: Request<Incoming>, ending: Ending) -> Response<Full<Bytes>> {
    let accept = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let accept = accept.and_then(|accept| HeaderValue::from_str(&accept).ok());
    let Some(accept) = accept else { return response(426, "text/plain", "connect with a WebSocket\n") };
    let echo = echo(hyper::upgrade::on(&mut request), ending.token);
    ending.tasks.spawn(echo);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn echo(upgrade: OnUpgrade, ending: CancellationToken) {
    let Ok(connection) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, None).await;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            () = ending.cancelled() => {
                let away = CloseFrame { code: CloseCode::Away, reason: "this instance ends".into() };
                // The client may have gone already.
                let _ = socket.close(Some(away)).await;
                return;
            }
        };
        match message {
            Some(Ok(message)) if message.is_text() || message.is_binary() => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // Pings are answered by the library.
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}
