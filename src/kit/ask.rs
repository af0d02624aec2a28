//! One question in HTTP/1.1 on a connection of its own: what probes, routers among each other and `ready` ask.
use std::{convert::Infallible, io};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::{Body, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Asks, and reads no more than `limit` bytes of the answer's body; with 0 the head is all that is waited for. The connection ends with the future.
///
/// # Errors
/// What went wrong with the connection, or an answer that is longer.
pub async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>, limit: usize) -> io::Result<(StatusCode, Bytes)> {
    let whole = async |body: Incoming| match limit {
        0 => Ok(Bytes::new()),
        _ => Ok(Limited::new(body, limit).collect().await.map_err(io::Error::other)?.to_bytes()),
    };
    converse(stream, request, whole).await
}

/// Asks, and keeps the first `limit` bytes of the answer's body; the answer is waited for to its end.
///
/// # Errors
/// What went wrong with the connection.
pub async fn ask_for_beginning(stream: TcpStream, request: Request<Full<Bytes>>, limit: usize) -> io::Result<(StatusCode, Bytes)> {
    let beginning = async |mut body: Incoming| {
        let mut kept = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            kept.extend_from_slice(data.get(..limit.saturating_sub(kept.len()).min(data.len())).unwrap_or_default());
        }
        Ok(kept.freeze())
    };
    converse(stream, request, beginning).await
}

async fn converse<B>(
    stream: TcpStream,
    request: Request<B>,
    read: impl AsyncFnOnce(Incoming) -> io::Result<Bytes>,
) -> io::Result<(StatusCode, Bytes)>
where
    B: Body<Data = Bytes, Error = Infallible> + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answer = async {
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        Ok((head.status, read(body).await?))
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
