//! The sockets that clients connect to: those that systemd passed, or one per worker on one address, among which the kernel spreads connections (`SO_REUSEPORT`).
pub mod passed;

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use self::passed::Passed;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody listens there.
    #[error("router: {0} is in use by another program (`ss -ltnp 'sport = :{port}'` says which): stop that one, or give another --router-listen", port = .0.port())]
    InUse(SocketAddr),
    /// A port below 1024 without the right to it.
    #[error("router: {0} needs a right that this user does not have: take a port above 1023 with --router-listen")]
    Denied(SocketAddr),
    /// Something else.
    #[error("router: listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// No more file descriptors.
    #[error("router: share a socket that systemd passed")]
    Share(#[source] io::Error),
}

impl Error {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::Denied(address),
            _ => Self::Bind(address, error),
        }
    }
}

/// The sockets of `workers` workers (at least): those that were passed, else [`bind`]'s.
///
/// # Errors
/// As [`bind`]; or a passed socket cannot be shared.
pub fn open(address: SocketAddr, workers: usize, passed: Passed) -> Result<Vec<TcpListener>, Error> {
    if passed.is_empty() { bind(address, workers) } else { passed.for_workers(workers).map_err(Error::Share) }
}

/// Binds `workers` sockets to one address; with port 0 all get the port that the first got.
///
/// # Errors
/// The address is taken, forbidden, or not this machine's.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, Error> {
    // A second router of the same user could share the port unseen: first ask for it alone.
    if address.port() != 0 {
        socket(address, false).map_err(|error| Error::new(address, error))?;
    }
    let mut listeners = Vec::with_capacity(workers);
    let mut bound = address;
    for _ in 0..workers.max(1) {
        let listener = socket(bound, true).map_err(|error| Error::new(address, error))?;
        bound = listener.local_addr().map_err(|error| Error::new(address, error))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections that linger after an earlier process are no hindrance.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_share_the_port_that_the_first_got() {
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn a_port_that_another_router_of_the_same_user_has_is_refused_with_the_remedy() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = bind(address, 2).unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("--router-listen"), "{error}");
    }
}
