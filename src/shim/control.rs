//! The shim's control socket and its connections: requests come in, a line each, and an empty line goes out when one was
//! heeded. The end of a connection says "look again".
use std::{
    io::{self, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    time::Duration,
};

use serde::de::DeserializeOwned;

use crate::{dir::SOCKET, record};

/// More than this many connections are never needed: one controller, and its successor.
const CONNECTIONS: usize = 8;
/// A request is far shorter.
const LONGEST_LINE: usize = 4096;

/// Makes the socket in the current directory, for its owner only.
pub(crate) fn listen() -> io::Result<UnixListener> {
    record::remove(SOCKET.as_ref())?;
    let listener = UnixListener::bind(SOCKET)?;
    std::fs::set_permissions(SOCKET, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Sends a line to a controller that may be stuck: not for longer than a moment.
pub(crate) fn send(mut to: &UnixStream, line: &[u8]) -> io::Result<()> {
    to.set_write_timeout(Some(Duration::from_secs(2)))?;
    to.write_all(line)
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket, to poll.
    pub socket: UnixStream,
    line: Vec<u8>,
}

impl Connection {
    /// Takes over a socket.
    pub(crate) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, line: Vec::new() })
    }

    /// Reads what is there and gives the whole requests in it; none if the connection has ended or talks nonsense.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Option<Vec<T>> {
        let mut chunk = [0_u8; 512];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(count) => self.line.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.requests(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
            if self.line.len() > LONGEST_LINE {
                return None;
            }
        }
    }

    /// Says that a request was heeded. Whoever does not listen does not need to know.
    pub(crate) fn done(&mut self) {
        let _ = self.socket.write(b"\n");
    }

    fn requests<T: DeserializeOwned>(&mut self) -> Option<Vec<T>> {
        let Some(end) = self.line.iter().rposition(|byte| *byte == b'\n') else { return Some(Vec::new()) };
        let rest = self.line.split_off(end + 1);
        let lines = std::mem::replace(&mut self.line, rest);
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

/// Takes waiting connections in; the oldest makes room.
///
/// # Errors
/// One that waits cannot be taken in now: no descriptor is left.
pub(crate) fn accept(listener: &UnixListener, connections: &mut Vec<Connection>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((socket, _)) => {
                if connections.len() >= CONNECTIONS {
                    connections.remove(0);
                }
                connections.extend(Connection::new(socket));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(error) => return Err(error),
        }
    }
}
