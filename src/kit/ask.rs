//! One question in HTTP/1.1 on a connection of its own: what probes, routers among each other and `ready` ask.
use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Asks, and reads no more than `limit` bytes of the answer's body; with 0 the head is all that is waited for. The connection ends with the future.
///
/// # Errors
/// What went wrong with the connection, or an answer that is longer.
pub async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>, limit: usize) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = if limit == 0 {
            Bytes::new()
        } else {
            Limited::new(response.into_body(), limit).collect().await.map_err(io::Error::other)?.to_bytes()
        };
        Ok((status, body))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection moves the answer, and may end in the very step that brought it; its own end is told by the answer.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Asks a server that answers so, and closes.
    async fn asked(answer: &'static str, limit: usize) -> io::Result<(u16, Bytes)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = async {
            let (mut stream, _) = listener.accept().await?;
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await?;
            stream.write_all(answer.as_bytes()).await
        };
        let request = Request::get("/readyz").header("host", "a").body(Empty::new()).unwrap();
        let client = async { ask(TcpStream::connect(address).await?, request, limit).await };
        let (sent, answer) = tokio::join!(server, client);
        sent?;
        answer.map(|(status, body)| (status.as_u16(), body))
    }

    #[tokio::test]
    async fn an_answer_counts_however_soon_the_connection_ends() {
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nno: x";
        assert_eq!(asked(answer, 1024).await.unwrap(), (503, Bytes::from_static(b"no: x")));
        assert_eq!(asked(answer, 0).await.unwrap(), (503, Bytes::new()));
    }

    #[tokio::test]
    async fn what_is_no_answer_or_a_longer_one_is_an_error() {
        for answer in ["", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno"] {
            assert!(asked(answer, 1024).await.is_err(), "{answer:?}");
        }
        assert!(asked("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno: x", 4).await.is_err());
    }
}
