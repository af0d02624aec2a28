//! HTTP/1.1 over the engine's Unix socket: a connection per call, driven by whoever reads the answer, so that no task is left behind.
use std::{
    path::{Path, PathBuf},
    pin::Pin,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{
    Stream,
    future::{FusedFuture, FutureExt},
    stream,
};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, time::timeout};

use super::{Error, PATIENCE};

/// Lines longer than this are no answer of an engine.
const LONGEST_LINE: usize = 4 << 20;

/// Where the engine is.
#[derive(Debug, Clone)]
pub(super) struct Http {
    socket: PathBuf,
}

/// The head of an answer, and the rest of it to be read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

type Connection = Pin<Box<dyn FusedFuture<Output = Result<(), hyper::Error>> + Send>>;

/// The body of an answer, with the connection that it comes over.
pub(super) struct Body {
    incoming: Incoming,
    connection: Connection,
    socket: PathBuf,
}

impl Http {
    pub(super) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request; `patience` is for the head of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Answer, Error> {
        match timeout(patience, self.exchange(method, path, headers, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unreachable { socket: self.socket.clone(), why: format!("no answer within {} s", patience.as_secs()) }),
        }
    }

    async fn exchange(&self, method: Method, path: &str, headers: &[(HeaderName, String)], body: Vec<u8>) -> Result<Answer, Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| Error::of_io(&error, &self.socket))?;
        let broken = |error: hyper::Error| Error::Unreachable { socket: self.socket.clone(), why: error.to_string() };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut connection: Connection = Box::pin(connection.fuse());
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "engine").header(header::CONNECTION, "close");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| Error::Unreadable(error.to_string()))?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer.map_err(broken)?,
                // The connection may end in the very step that brought the answer.
                _ = &mut connection, if !connection.is_terminated() => {}
            }
        };
        let (head, incoming) = answer.into_parts();
        let body = Body { incoming, connection, socket: self.socket.clone() };
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// A call whose answer is read to its end; a refusal is an error.
    pub(super) async fn call(&self, method: Method, path: &str, headers: &[(HeaderName, String)], body: Vec<u8>) -> Result<Bytes, Error> {
        let answer = self.send(method, path, headers, body, PATIENCE).await?;
        let status = answer.status;
        let body = answer.body.collect().await?;
        // 304: it was so already.
        if status.is_success() || status == StatusCode::NOT_MODIFIED { Ok(body) } else { Err(Error::answer(status.as_u16(), &body)) }
    }

    /// A call with JSON in both directions.
    pub(super) async fn json<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<T, Error> {
        let unreadable = |error: serde_json::Error| Error::Unreadable(error.to_string());
        let body = body.map(serde_json::to_vec).transpose().map_err(unreadable)?.unwrap_or_default();
        let answer = self.call(method, path, &[], body).await?;
        serde_json::from_slice(&answer).map_err(unreadable)
    }
}

impl Body {
    /// The next piece; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = tokio::select! {
                frame = self.incoming.frame() => frame,
                _ = &mut self.connection, if !self.connection.is_terminated() => continue,
            };
            return match frame {
                None => Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_) => continue,
                },
                Some(Err(error)) => Err(Error::Unreachable { socket: self.socket.clone(), why: error.to_string() }),
            };
        }
    }

    pub(super) async fn collect(mut self) -> Result<Bytes, Error> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// The lines of the body as they come; the last one too if it has no end.
    pub(super) fn lines(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        stream::try_unfold((self, BytesMut::new(), false), |(mut body, mut rest, mut ended)| async move {
            loop {
                if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let mut line = rest.split_to(end + 1);
                    line.truncate(end);
                    return Ok(Some((line.freeze(), (body, rest, ended))));
                }
                if ended || rest.len() > LONGEST_LINE {
                    let last = rest.split();
                    return Ok((!last.is_empty()).then(|| (last.freeze(), (body, rest, true))));
                }
                match body.next().await? {
                    Some(piece) => rest.extend_from_slice(&piece),
                    None => ended = true,
                }
            }
        })
    }
}

/// A value in a query: everything but RFC 3986's unreserved characters is escaped.
pub(super) fn encode(value: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().map(char::from);
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%'].into_iter().chain(digit(byte >> 4)).chain(digit(byte & 15)));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn a_query_holds_any_value() {
        assert_eq!(encode("quay.io/a/b:1@sha256:0"), "quay.io%2Fa%2Fb%3A1%40sha256%3A0");
        assert_eq!(encode("{\"a\":[\"ü &\"]}"), "%7B%22a%22%3A%5B%22%C3%BC%20%26%22%5D%7D");
    }
}
