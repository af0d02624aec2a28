//! The next connection of a listener, also where this process runs out of what one takes.
use std::{future::Future, io, time::Duration};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use mesh_base::exhausted::is_exhausted;

/// How long to rest while there is nothing left for a connection; it waits in the kernel meanwhile.
const REST: Duration = Duration::from_millis(100);

/// Waits for it. `door` is whose listener it is, for the log: that there is nothing left is told once until there is a connection again.
pub async fn accept(listener: &TcpListener, door: &'static str) -> TcpStream {
    next(door, || async { listener.accept().await.map(|(stream, _)| stream) }).await
}

/// The same for a Unix socket.
pub async fn accept_unix(listener: &UnixListener, door: &'static str) -> UnixStream {
    next(door, || async { listener.accept().await.map(|(stream, _)| stream) }).await
}

async fn next<T, F: Future<Output = io::Result<T>>>(door: &'static str, accept: impl Fn() -> F) -> T {
    let mut told = false;
    loop {
        match accept().await {
            Ok(stream) => return stream,
            Err(error) if is_exhausted(&error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!(door, %error, limit = crate::descriptors::limit(), "no connection can be accepted; it is tried again");
                }
                tokio::time::sleep(REST).await;
            }
            // It was gone before it was taken.
            Err(error) => tracing::debug!(door, %error, "accept"),
        }
    }
}
