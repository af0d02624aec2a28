//! What can go wrong between us and an engine, told by its cause and not by the HTTP status: the two dialects and their versions differ in the status.
use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::version::Version;
use mesh_base::exhausted::is_exhausted;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no socket at any of the places.
    #[error("no container engine was found; looked for {}; start Podman's socket ({}), or name another with --engine-socket", list(.looked), enable())]
    NoSocket {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The place that was named is no Unix socket.
    #[error("{given}: only a Unix socket can be used here, as unix:///run/podman/podman.sock")]
    NotUnix {
        /// As given.
        given: String,
    },
    /// This user may not open it.
    #[error("{}: permission denied; run as its owner, or use your own engine ({})", socket.display(), enable())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// Nobody answers there.
    #[error("{}: {why}; is it running? ({})", socket.display(), enable())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It was not asked: this process has nothing left for a connection.
    #[error("nothing is left here for a connection to {}: {why}", socket.display())]
    Exhausted {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        why: String,
    },
    /// Something answers there that is no container engine.
    #[error("{} is no container engine: {why}", socket.display())]
    NotAnEngine {
        /// The socket.
        socket: PathBuf,
        /// What was odd.
        why: String,
    },
    /// It is an engine, but an old one.
    #[error("Podman {version} at {} is too old: 4.0 or later is needed", socket.display())]
    TooOld {
        /// The socket.
        socket: PathBuf,
        /// Its version.
        version: Version,
    },
    /// The engine refused.
    #[error("{message}")]
    Answer {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The engine's answer could not be read.
    #[error("an answer that cannot be read: {0}")]
    Unreadable(String),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn enable() -> &'static str {
    if rustix::process::geteuid().is_root() {
        "systemctl enable --now podman.socket"
    } else {
        "systemctl --user enable --now podman.socket"
    }
}

/// The body of a refusal, of both dialects.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Error {
    /// A refusal, from its status and body.
    pub(super) fn answer(status: u16, body: &[u8]) -> Self {
        let message =
            serde_json::from_slice::<Refusal>(body).map_or_else(|_| String::from_utf8_lossy(body).trim().to_owned(), |it| it.message);
        Self::Answer { status, message }
    }

    /// From what the system said when the socket was opened, or in the middle of an answer.
    pub(super) fn of_io(error: &io::Error, socket: &Path) -> Self {
        let socket = socket.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { socket },
            _ if is_exhausted(error) => Self::Exhausted { socket, why: error.to_string() },
            _ => Self::Unreachable { socket, why: error.to_string() },
        }
    }

    /// From bollard's, whose refusals are answers and whose everything else means that nobody answers.
    pub(super) fn of_bollard(error: &bollard::errors::Error, socket: &Path) -> Self {
        use bollard::errors::Error as E;
        match error {
            E::DockerResponseServerError { status_code, message } => Self::Answer { status: *status_code, message: message.clone() },
            E::DockerStreamError { error } => Self::Answer { status: 500, message: error.clone() },
            E::JsonDataError { message, .. } => Self::Unreadable(message.clone()),
            E::JsonSerdeError { err } => Self::Unreadable(err.to_string()),
            E::SocketNotFoundError(path) => Self::Unreachable { socket: socket.to_owned(), why: format!("{path}: no such socket") },
            other => match deepest_io(other) {
                Some(error) => Self::of_io(error, socket),
                None => Self::Unreachable { socket: socket.to_owned(), why: other.to_string() },
            },
        }
    }

    /// Nobody answered: worth asking again.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::NoSocket { .. } | Self::NotPermitted { .. } | Self::Unreachable { .. } | Self::Exhausted { .. })
    }

    /// What is wrong and what mends it, for a message that names the engine already.
    pub fn why(&self) -> String {
        match self {
            Self::Unreachable { why, .. } => format!("{why}; is it running? ({})", enable()),
            Self::NotPermitted { .. } => format!("permission denied; run as its owner, or use your own engine ({})", enable()),
            other => other.to_string(),
        }
    }

    /// There is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer { status: 404, .. })
            || [
                "no such container",
                "image not known",
                "no such image",
                "network not found",
                "no such volume",
                "no such secret",
                "no such exec",
            ]
            .iter()
            .any(|cause| self.says(cause))
    }

    /// Whether the engine's refusal has these words.
    pub fn says(&self, words: &str) -> bool {
        matches!(self, Self::Answer { message, .. } if message.to_lowercase().contains(words))
    }

    /// The refusal for what it is if it is that there is no such thing.
    pub(super) fn none_if_missing<T>(result: Result<T, Self>) -> Result<Option<T>, Self> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn deepest_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().or(found);
        next = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_a_socket_comes_with_the_remedy() {
        let socket = Path::new("/run/podman/podman.sock");
        let denied = Error::of_io(&io::ErrorKind::PermissionDenied.into(), socket);
        assert!(matches!(denied, Error::NotPermitted { .. }) && denied.is_unreachable());
        let refused = Error::of_io(&io::ErrorKind::ConnectionRefused.into(), socket);
        assert!(refused.is_unreachable() && !refused.why().contains("/run/podman"), "{}", refused.why());
        for error in [denied, refused] {
            assert!(
                error.to_string().starts_with("/run/podman/podman.sock: ") && error.why().contains("enable --now podman.socket"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_engine_that_could_not_be_asked_is_not_said_to_be_down() {
        let ours = Error::of_io(&rustix::io::Errno::MFILE.into(), Path::new("/run/podman/podman.sock"));
        assert!(ours.is_unreachable(), "worth asking again");
        assert!(ours.why().starts_with("nothing is left here for a connection") && !ours.why().contains("is it running"), "{}", ours.why());
    }

    #[test]
    fn a_refusal_is_told_by_its_words() {
        let body =
            br#"{"cause":"no such container","message":"no container with name or ID \"x\" found: no such container","response":404}"#;
        assert!(Error::answer(404, body).is_not_found() && Error::answer(500, body).is_not_found());
        assert!(!Error::answer(500, b"{\"message\":\"that name is already in use\"}").is_not_found());
        assert_eq!(Error::answer(502, b" Bad Gateway\n").to_string(), "Bad Gateway");
    }
}
