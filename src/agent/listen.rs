//! Where the door is: a Unix socket on a machine, and a TCP port where asked for, as in a cluster. Connections are few and long; each has a deadline for its next head, and there is a most.
use std::{
    convert::Infallible,
    fs,
    future::Future,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use hyper::{
    body::{Frame, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::sleep,
};

use crate::{answer::Body, caller::Place, routes::Door};
use mesh_kit::{
    accept::{accept, accept_unix},
    guests::{Answering, Asked, Guests},
    shutdown::Shutdown,
};

/// A Unix socket's path has no more bytes (unix(7): `sun_path`, with its end).
pub const MAX_PATH: usize = 107;
/// How long a connection may be silent between two requests, or take for a head.
const HEAD: Duration = Duration::from_secs(30);
/// Between two looks at whether there is a place again.
const FULL: Duration = Duration::from_millis(100);

/// Why there can be no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its path is too long.
    #[error("the path of the agent's socket, {}, has {} bytes, and {MAX_PATH} are possible: choose a shorter one with --agent-socket", .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// The system refuses it.
    #[error("cannot listen at the agent's socket {}: {source}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Listens at this path. Whoever calls this is the only one who may: what is left there of a former process is replaced.
///
/// # Errors
/// There can be no socket there.
pub fn listen(path: &Path) -> Result<UnixListener, Error> {
    if path.as_os_str().len() > MAX_PATH {
        return Err(Error::TooLong(path.to_owned()));
    }
    let open = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => fs::remove_file(path)?,
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else is there")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        // Whom its folders let through may knock: a container's user is another than ours. The token decides.
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
        Ok(listener)
    };
    open().map_err(|source| Error::System { path: path.to_owned(), source })
}

/// Answers until shutdown.
///
/// # Errors
/// None: a connection that fails is its client's matter.
pub async fn run(socket: Option<UnixListener>, port: Option<TcpListener>, door: Door, shutdown: Shutdown) -> Result<(), Infallible> {
    let here = async {
        match &socket {
            Some(socket) => enter(|| accept_unix(socket, "agent"), &door).await,
            None => std::future::pending().await,
        }
    };
    let there = async {
        match &port {
            Some(port) => enter(|| accept(port, "agent"), &door).await,
            None => std::future::pending().await,
        }
    };
    // Connections are dropped at the end; what their programs hold is not given back by that.
    tokio::select! {
        () = shutdown.triggered() => {}
        () = here => {}
        () = there => {}
    }
    Ok(())
}

/// Lets one after the other in.
async fn enter<S, F>(next: impl Fn() -> F, door: &Door)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = S>,
{
    let mut connections = JoinSet::new();
    let mut guests = Guests::new(door.gate.connections());
    loop {
        let (stream, asked) = (next().await, Asked::default());
        // Who comes now waits until somebody has been answered.
        while guests.are_too_many() {
            sleep(FULL).await;
        }
        while connections.try_join_next().is_some() {}
        let task = connections.spawn(serve(stream, door.clone(), asked.clone()));
        if guests.enter(task, asked) {
            door.gate.limits().closed(door.gate.connections());
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, door: Door, asked: Asked) {
    let service = service_fn(move |request| {
        let (door, answering) = (door.clone(), asked.begin());
        async move { door.answer(request).await.map(|answer| kept(answer, answering)) }
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD).serve_connection(TokioIo::new(stream), service);
    // What goes wrong on a connection here concerns only who opened it.
    let _ = connection.await;
}

/// An answer that counts as one until its last byte is sent.
struct Kept {
    body: Body,
    _answering: Answering,
    _place: Option<Arc<Place>>,
}

fn kept(mut answer: Response<Body>, answering: Answering) -> Response<Kept> {
    let place = answer.extensions_mut().remove();
    answer.map(|body| Kept { body, _answering: answering, _place: place })
}

impl hyper::body::Body for Kept {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
