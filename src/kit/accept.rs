//! The next connection of a listener, also where this process runs out of what one takes.
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use mesh_base::exhausted::is_exhausted;

/// How long to rest while there is nothing left for a connection; it waits in the kernel meanwhile.
const REST: Duration = Duration::from_millis(100);

/// Waits for it. `door` is whose listener it is, for the log: that there is nothing left is told once until there is a connection again.
pub async fn accept(listener: &TcpListener, door: &'static str) -> TcpStream {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
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
