//! Serves listeners: for each a thread with a runtime of its own, whose worker takes connections, answers their requests, and has a sweeper that ends what
//! took too long.
use std::{
    cell::Cell as StdCell,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    conn::Gated,
    exchange::{Client, respond},
    forward::Peer,
    proxy::Proxy,
    worker::{Slot, Worker},
};
use mesh_kit::exhausted::is_exhausted;

/// Bytes that the kernel holds of what is not sent yet.
const NOT_SENT: u32 = 256 * 1024;
/// How often the sweeper looks; time limits are kept to this.
const SWEEP: Duration = Duration::from_millis(100);

/// A worker that could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No thread.
    #[error("router: start a worker's thread")]
    Thread(#[source] io::Error),
    /// No runtime, or a socket it cannot take.
    #[error("router: start a worker")]
    Worker(#[source] io::Error),
    /// A bug.
    #[error("router: a worker panicked")]
    Panicked,
}

/// Serves each listener on a thread of its own until `stop`; then what is under way may end within `grace`.
///
/// # Errors
/// A worker that could not start.
pub async fn serve(proxy: &Arc<Proxy>, listeners: Vec<StdListener>, stop: CancellationToken, grace: Duration) -> Result<(), Error> {
    let mut ends = Vec::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        let (done, end) = oneshot::channel();
        let (proxy, stop) = (proxy.clone(), stop.clone());
        std::thread::Builder::new()
            .name(format!("router-{index}"))
            .spawn(move || done.send(run(proxy, listener, stop, grace)))
            .map_err(Error::Thread)?;
        ends.push(end);
    }
    let ends = ends.into_iter().map(async |end| end.await.map_err(|_| Error::Panicked)?.map_err(Error::Worker));
    futures::future::try_join_all(ends).await.map(drop)
}

/// Serves connections of one listener on this thread until `stop`, then lets what is under way end within `grace`.
///
/// # Errors
/// The runtime cannot be made, or the socket is none that it can take.
fn run(proxy: Arc<Proxy>, listener: StdListener, stop: CancellationToken, grace: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let worker = Worker::new(proxy, stop);
        let sweeper = tokio::task::spawn_local(sweep(worker.clone()));
        accept(&worker, listener).await;
        worker.tasks.close();
        worker.close_all();
        if tokio::time::timeout(grace, worker.tasks.wait()).await.is_err() {
            tracing::warn!(connections = worker.tasks.len(), "router: connections were cut at the end of the grace period");
        }
        sweeper.abort();
        Ok(())
    })
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.sweep();
    }
}

async fn accept(worker: &Rc<Worker>, listener: TcpListener) {
    let stop = worker.stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((io, peer)) if worker.proxy.admit(|most| worker.evict(most)) => open(worker, io, peer),
            // Too many, and all of them at work: dropped, which closes it.
            Ok(_) => {}
            Err(error) if is_exhausted(&error) => {
                worker.lacks_descriptors(&error);
                tokio::time::sleep(SWEEP).await;
            }
            // It was gone before it was taken.
            Err(error) => tracing::debug!(%error, "router: accept"),
        }
    }
}

fn open(worker: &Rc<Worker>, io: TcpStream, peer: SocketAddr) {
    let slot = Slot::new(worker.proxy.clone());
    // Without it small answers only come later; the connection works all the same.
    let _ = io.set_nodelay(true);
    // What a slow client has not been sent waits here, not in the kernel, where it could not be told from what is on its way.
    let _ = SockRef::from(&io).set_tcp_notsent_lowat(NOT_SENT);
    let settings = worker.proxy.table().settings.clone();
    let address = peer.ip().to_canonical();
    let (id, cell) = worker.enter(&settings.limits);
    let client = Rc::new(Client {
        cell,
        worker: worker.clone(),
        peer: Peer {
            address: HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown")),
            trusted: settings.trusts(address),
        },
        requests: StdCell::new(0),
        slot: Rc::new(slot),
    });
    worker.tasks.spawn_local(async move {
        connection(io, &client).await;
        client.worker.leave(id);
    });
}

async fn connection(io: TcpStream, client: &Rc<Client>) {
    let cell = client.cell.clone();
    let service = service_fn(|request| respond(client.clone(), request));
    let connection = http1::Builder::new().header_read_timeout(None).serve_connection(TokioIo::new(Gated::new(io, cell.clone())), service);
    let mut connection = pin!(connection.with_upgrades());
    let told = StdCell::new(false);
    let end = std::future::poll_fn(|cx| {
        cell.set_waker(cx.waker());
        loop {
            // Not before its first request: hyper would end the connection at once.
            let tell = || !told.get() && cell.is_closing() && !cell.is_fresh();
            if tell() {
                told.set(true);
                connection.as_mut().graceful_shutdown();
            }
            let polled = connection.as_mut().poll(cx);
            // That may only just have come.
            if polled.is_ready() || !tell() {
                return polled;
            }
        }
    });
    if let Err(error) = end.await {
        tracing::debug!(%error, "connection of a client ended");
    }
}
