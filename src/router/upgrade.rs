//! WebSocket (RFC 6455): the handshake is checked on both sides, then bytes pass until one side ends, the instance is to end, or the router is.
//! No other upgrade is passed on; `h2c` in particular never is.
pub mod frames;

use std::{cell::Cell as StdCell, io, pin::pin, rc::Rc, time::Duration};

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
/// How long the goodbye may take, for a client that reads and answers it.
const FAREWELL: Duration = Duration::from_secs(1);

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
    /// How long a side may take nothing of what it is sent.
    pub send: Option<Duration>,
    /// The end of the router.
    pub stop: CancellationToken,
}

/// One side of a tunnel.
struct Side {
    read: ReadHalf<TokioIo<Upgraded>>,
    write: WriteHalf<TokioIo<Upgraded>>,
    /// What was written to this side.
    frames: Frames,
}

impl Side {
    fn new(io: Upgraded) -> Self {
        let (read, write) = tokio::io::split(TokioIo::new(io));
        Self { read, write, frames: Frames::default() }
    }
}

/// When bytes passed last, in either direction.
struct Heard(StdCell<Instant>);

impl Heard {
    fn now(&self) {
        self.0.set(Instant::now());
    }

    /// Waits until nothing has passed for so long.
    async fn silence(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let end = self.0.get() + limit;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
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

    /// Each direction goes on by itself: one that waits for its reader holds up nothing of the other.
    async fn pass(&self, mut client: Side, mut instance: Side) -> io::Result<()> {
        let cut = self.in_flight.live().cut.clone();
        let heard = Heard(StdCell::new(Instant::now()));
        {
            let mut up = pin!(one_way(&mut client.read, &mut instance.write, &mut instance.frames, &heard, self.send));
            let mut down = pin!(one_way(&mut instance.read, &mut client.write, &mut client.frames, &heard, self.send));
            let (mut up_open, mut down_open) = (true, true);
            while up_open || down_open {
                let limit = if up_open && down_open { self.idle } else { Some(LINGER) };
                tokio::select! {
                    end = &mut up, if up_open => (end?, up_open = false).0,
                    end = &mut down, if down_open => (end?, down_open = false).0,
                    () = cut.cancelled() => break,
                    () = self.stop.cancelled() => break,
                    () = heard.silence(limit) => break,
                }
            }
            if !up_open && !down_open {
                return Ok(());
            }
        }
        // Whoever does not read holds up nobody's end.
        tokio::time::timeout(FAREWELL, farewell(client, instance)).await.unwrap_or(Ok(()))
    }
}

/// Passes on what is read, until its end or until nobody takes it.
async fn one_way(
    from: &mut ReadHalf<TokioIo<Upgraded>>,
    to: &mut WriteHalf<TokioIo<Upgraded>>,
    frames: &mut Frames,
    heard: &Heard,
    limit: Option<Duration>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        heard.now();
        if read == 0 {
            return to.shutdown().await;
        }
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let written = within(limit, to.write(rest)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let (sent, left) = rest.split_at_checked(written).unwrap_or((rest, &[]));
            frames.follow(sent);
            rest = left;
            heard.now();
        }
        to.flush().await?;
    }
}

async fn within(limit: Option<Duration>, write: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, write).await?,
        None => write.await,
    }
}

/// Says goodbye as an endpoint that is going away does (1001), where no frame is cut by it.
async fn farewell(mut client: Side, mut instance: Side) -> io::Result<()> {
    let to_client = goodbye(&mut client.write, &client.frames, &frames::GOING_AWAY);
    let to_instance = goodbye(&mut instance.write, &instance.frames, &frames::GOING_AWAY_MASKED);
    futures::future::try_join(to_client, to_instance).await?;
    // The client's own close is read, so that the kernel does not answer it with a reset, which could overtake ours.
    let mut buffer = vec![0; BUFFER];
    while client.read.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    Ok(())
}

async fn goodbye(write: &mut WriteHalf<TokioIo<Upgraded>>, frames: &Frames, close: &[u8]) -> io::Result<()> {
    if frames.at_border() {
        write.write_all(close).await?;
    }
    write.shutdown().await
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
