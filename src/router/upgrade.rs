//! WebSocket (RFC 6455): the handshake is checked on both sides, then bytes pass until one side ends, the instance is to end, or the router is.
//! No other upgrade is passed on; `h2c` in particular never is.
pub mod frames;

use std::{io, rc::Rc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, Request, Version,
    header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{endpoint::InFlight, worker::Slot};
use frames::Frames;

/// The only token that is passed on.
pub const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// RFC 6455, 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BUFFER: usize = 16 * 1024;
/// How long the other side may take to end too, once one side has.
const LINGER: Duration = Duration::from_secs(5);

/// A client's `Sec-WebSocket-Key`.
#[derive(Debug, Clone)]
pub struct Key(HeaderValue);

/// The key of a request that wants a WebSocket and nothing else.
pub fn wanted<B>(request: &Request<B>) -> Option<Key> {
    let headers = request.headers();
    let mut tokens = headers.get_all(UPGRADE).iter();
    let only = matches!((tokens.next(), tokens.next()), (Some(token), None) if token.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let fits = only && *request.method() == Method::GET && request.version() == Version::HTTP_11;
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    (fits && STANDARD.decode(key.as_bytes()).is_ok_and(|nonce| nonce.len() == 16)).then(|| Key(key.clone()))
}

/// Whether an instance's 101 is the answer to that key.
pub fn is_accepted(headers: &HeaderMap, key: &Key) -> bool {
    let expected = STANDARD.encode(Sha1::new().chain_update(key.0.as_bytes()).chain_update(GUID).finalize());
    let upgrade = headers.get(UPGRADE).is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(b"websocket"));
    upgrade && headers.get(SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| accept.as_bytes() == expected.as_bytes())
}

/// An upgraded connection; under way at its instance until it ends.
#[derive(Debug)]
pub struct Tunnel {
    /// Counts as under way.
    pub in_flight: InFlight,
    /// Its place among the connections.
    pub slot: Rc<Slot>,
    /// How long both sides may be silent.
    pub idle: Option<Duration>,
    /// The end of the router.
    pub stop: CancellationToken,
}

/// One side of a tunnel.
struct Side {
    read: ReadHalf<TokioIo<Upgraded>>,
    write: WriteHalf<TokioIo<Upgraded>>,
    /// What came from this side.
    frames: Frames,
    buffer: Vec<u8>,
    open: bool,
}

impl Side {
    fn new(io: Upgraded) -> Self {
        let (read, write) = tokio::io::split(TokioIo::new(io));
        Self { read, write, frames: Frames::default(), buffer: vec![0; BUFFER], open: true }
    }
}

/// What ended the wait for bytes.
enum Woken {
    Client(io::Result<usize>),
    Instance(io::Result<usize>),
    Going,
    Silent,
}

impl Tunnel {
    /// Passes bytes until the end.
    pub async fn run(self, client: OnUpgrade, instance: OnUpgrade) {
        match futures::future::try_join(client, instance).await {
            Ok((client, instance)) => {
                if let Err(error) = self.pass(Side::new(client), Side::new(instance)).await {
                    tracing::debug!(%error, "a tunnel ended");
                }
            }
            Err(error) => tracing::debug!(%error, "an upgrade was not completed"),
        }
    }

    async fn pass(&self, mut client: Side, mut instance: Side) -> io::Result<()> {
        let cut = self.in_flight.live().cut.clone();
        let mut heard = Instant::now();
        while client.open || instance.open {
            let silent = if client.open && instance.open { self.idle } else { Some(LINGER) };
            let woken = tokio::select! {
                read = client.read.read(&mut client.buffer), if client.open => Woken::Client(read),
                read = instance.read.read(&mut instance.buffer), if instance.open => Woken::Instance(read),
                () = cut.cancelled() => Woken::Going,
                () = self.stop.cancelled() => Woken::Going,
                () = at(silent.map(|silent| heard + silent)) => Woken::Silent,
            };
            match woken {
                Woken::Client(read) => one_way(&mut client, &mut instance, read?).await?,
                Woken::Instance(read) => one_way(&mut instance, &mut client, read?).await?,
                Woken::Going | Woken::Silent => return farewell(client, instance).await,
            }
            heard = Instant::now();
        }
        Ok(())
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Passes on what was read; nothing read is the end of that direction.
async fn one_way(from: &mut Side, to: &mut Side, read: usize) -> io::Result<()> {
    if read == 0 {
        from.open = false;
        return to.write.shutdown().await;
    }
    let bytes = from.buffer.get(..read).unwrap_or_default();
    from.frames.follow(bytes);
    to.write.write_all(bytes).await?;
    to.write.flush().await
}

/// Says goodbye as an endpoint that is going away does (1001), where no frame is cut by it.
async fn farewell(mut client: Side, mut instance: Side) -> io::Result<()> {
    if instance.frames.at_border() {
        client.write.write_all(&frames::GOING_AWAY).await?;
    }
    if client.frames.at_border() {
        instance.write.write_all(&frames::GOING_AWAY_MASKED).await?;
    }
    futures::future::try_join(client.write.shutdown(), instance.write.shutdown()).await?;
    // The client's own close is read, so that the kernel does not answer it with a reset, which could overtake ours.
    let rest = async { while client.read.read(&mut client.buffer).await.is_ok_and(|read| read > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_standard_is_accepted_and_no_other() {
        let key = Key(HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert!(is_accepted(&headers, &key));
        headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOp="));
        assert!(!is_accepted(&headers, &key));
    }

    #[test]
    fn only_a_websocket_is_wanted() {
        let request =
            |upgrade: &str, key: &str| Request::get("/").header(UPGRADE, upgrade).header(SEC_WEBSOCKET_KEY, key).body(()).unwrap();
        assert!(wanted(&request("websocket", "dGhlIHNhbXBsZSBub25jZQ==")).is_some());
        for (upgrade, key) in [("h2c", "dGhlIHNhbXBsZSBub25jZQ=="), ("websocket, h2c", "dGhlIHNhbXBsZSBub25jZQ=="), ("websocket", "short")]
        {
            assert!(wanted(&request(upgrade, key)).is_none(), "{upgrade} {key}");
        }
    }
}
