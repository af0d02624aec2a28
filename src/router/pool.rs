//! Connections to instances: made, kept while idle, taken again. One pool per worker, so nothing is locked.
use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::{
    conn::body::ClientBody,
    endpoint::{Endpoint, Live},
    exchange::expect::Expected,
};

/// How long an unused connection is kept: less than the 5 s after which common servers close theirs, so that the two do not cross.
pub const KEPT: u64 = 4_000;
/// What an instance's machine has not acknowledged for so long will not arrive any more. A program that does not read for so long counts as
/// gone as well (tcp(7), `TCP_USER_TIMEOUT`), so it is no shorter.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// Unused connections to one instance, per worker.
const MOST: usize = 256;

/// The body of a request on its way to an instance.
#[derive(Debug)]
pub enum RequestBody {
    /// The client's.
    Client(ClientBody),
    /// The same, once the instance asks for it.
    Expected(Box<Expected>),
    /// None.
    Empty,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Client(body) => Pin::new(body).poll_frame(cx),
            Self::Expected(body) => Pin::new(body).poll_frame(cx),
            Self::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            Self::Expected(body) => body.is_end_stream(),
            Self::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body) => body.size_hint(),
            Self::Expected(body) => body.size_hint(),
            Self::Empty => SizeHint::with_exact(0),
        }
    }
}

/// A connection to an instance.
#[derive(Debug)]
pub struct Upstream {
    /// Where requests are put in.
    pub sender: SendRequest<RequestBody>,
    /// It has carried a request before, so the instance may have closed it meanwhile.
    pub reused: bool,
    live: Arc<Live>,
    idle_since: u64,
}

/// The unused connections of one worker.
#[derive(Debug, Default)]
pub struct Pool(RefCell<HashMap<u64, Vec<Upstream>, BuildHasherDefault<SameNumber>>>);

/// Live ids are unique numbers already.
#[derive(Debug, Default)]
pub struct SameNumber(u64);

impl Hasher for SameNumber {
    fn finish(&self) -> u64 {
        // The map takes its buckets from the low and its tags from the high bits.
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl Pool {
    /// An unused connection to the endpoint, the one used last.
    pub fn take(&self, endpoint: &Endpoint) -> Option<Upstream> {
        let mut pool = self.0.borrow_mut();
        let unused = pool.get_mut(&endpoint.live.id)?;
        while let Some(mut upstream) = unused.pop() {
            // One that is not ready has closed, or still carries the rest of an unread body.
            if upstream.sender.is_ready() {
                upstream.reused = true;
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection whose response has ended.
    pub fn give_back(&self, mut upstream: Upstream, now: u64) {
        if upstream.sender.is_closed() || upstream.live.is_draining() {
            return;
        }
        upstream.idle_since = now;
        let mut pool = self.0.borrow_mut();
        let unused = pool.entry(upstream.live.id).or_default();
        if unused.len() < MOST {
            unused.push(upstream);
        }
    }

    /// Closes the unused connections to an endpoint that does not answer any more.
    pub fn forget(&self, endpoint: &Endpoint) {
        self.0.borrow_mut().remove(&endpoint.live.id);
    }

    /// Closes what was unused for so long, and what is kept of instances that are ending: many programs wait for it before they end. Both are in
    /// milliseconds.
    pub fn sweep(&self, now: u64, kept: u64) {
        self.0.borrow_mut().retain(|_, unused| {
            unused.retain(|upstream| {
                now.saturating_sub(upstream.idle_since) < kept && !upstream.sender.is_closed() && !upstream.live.is_draining()
            });
            !unused.is_empty()
        });
    }

    /// Closes all of them.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// A new connection; its task runs on the worker until either side closes it.
///
/// # Errors
/// What connecting gave; `TimedOut` after `limit`.
pub async fn connect(endpoint: &Endpoint, limit: Option<Duration>) -> io::Result<Upstream> {
    let io = match limit {
        Some(limit) => tokio::time::timeout(limit, stream(endpoint.address)).await.map_err(|_| io::ErrorKind::TimedOut)??,
        None => stream(endpoint.address).await?,
    };
    let (sender, connection) = Builder::new().handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
    // Owned by the worker's LocalSet; ends with the socket or when the sender is dropped.
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to an instance ended");
        }
    });
    Ok(Upstream { sender, reused: false, live: endpoint.live.clone(), idle_since: 0 })
}

async fn stream(address: SocketAddr) -> io::Result<TcpStream> {
    let io = TcpStream::connect(address).await?;
    io.set_nodelay(true)?;
    // A container that was removed with its network says no goodbye: what it does not acknowledge shows that it is gone.
    SockRef::from(&io).set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(io)
}
