//! Listening sockets that systemd opened and passed on (sd_listen_fds(3)): they outlive this process, so that a restart refuses no connection, and may have
//! ports below 1024 although this process may not.
use std::{io, net::TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

/// The sockets that were passed; none if no socket unit started this process.
#[derive(Debug, Default)]
pub struct Passed(Vec<TcpListener>);

/// A passed socket that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the socket {name} that systemd passed (file descriptor {fd}) is no listening TCP socket: \
     its .socket unit needs ListenStream=ADDRESS:PORT (no path), and Accept=no"
)]
pub struct Error {
    name: String,
    fd: usize,
    source: io::Error,
}

/// The first descriptor that is passed, by the protocol.
const FIRST: usize = 3;

impl Passed {
    /// Takes them over. To be called once, before there is any other thread: the variables that tell of them are taken out of the environment.
    ///
    /// # Errors
    /// One that is no listening TCP socket.
    pub fn take() -> Result<Self, Error> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut passed = ListenFd::from_env();
        let mut listeners = Vec::with_capacity(passed.len());
        for index in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("without a name").to_owned();
            let failed = |source| Error { name: name.clone(), fd: FIRST + index, source };
            let listener = passed.take_tcp_listener(index).and_then(listening).map_err(failed)?;
            listeners.extend(listener);
        }
        Ok(Self(listeners))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A handle of each for each of `workers`: they share the socket's queue.
    pub(super) fn for_workers(self, workers: usize) -> io::Result<Vec<TcpListener>> {
        let mut all = Vec::new();
        for listener in self.0 {
            for _ in 1..workers.max(1) {
                all.push(listener.try_clone()?);
            }
            all.push(listener);
        }
        Ok(all)
    }
}

/// Accept=yes passes connections, which look much the same.
fn listening(listener: Option<TcpListener>) -> io::Result<Option<TcpListener>> {
    match &listener {
        Some(socket) if !SockRef::from(socket).is_listener()? => Err(io::Error::other("it is a connection")),
        _ => Ok(listener),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_gets_a_handle_of_each_socket() {
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let handles = Passed(sockets.into()).for_workers(3).unwrap();
        let of: Vec<u16> = handles.iter().map(|handle| handle.local_addr().unwrap().port()).collect();
        assert_eq!(of, [ports[0], ports[0], ports[0], ports[1], ports[1], ports[1]]);
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        assert!(listening(Some(bound.into())).is_err());
        assert!(listening(Some(TcpListener::bind("127.0.0.1:0").unwrap())).unwrap().is_some());
    }
}
