//! Looks for the engine's socket and asks who answers. To be replaced by `backend::engine` where that is there: this knows `/_ping` and no more.
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::host;
use crate::cli::doctor::facts::{Engine, EngineKind};

const PATIENCE: Duration = Duration::from_secs(5);

/// The engine at the first place where there is a socket. A place that was named is the only one.
pub(super) fn engine(flag: Option<String>, uid: u32) -> Engine {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = flag.or_else(|| var("CONTAINER_HOST")).or_else(|| var("DOCKER_HOST"));
    let places = match named {
        None => usual(uid, var("XDG_RUNTIME_DIR")),
        Some(named) => match named.strip_prefix("unix://").unwrap_or(&named) {
            path if path.starts_with('/') => vec![PathBuf::from(path)],
            _ => return Engine::NotUnix(named),
        },
    };
    // A directory that this user may not enter may well hold a socket.
    let there = |path: &&PathBuf| path.try_exists().unwrap_or(true);
    match places.iter().find(there) {
        Some(socket) => ask(socket),
        None => Engine::Absent { looked: places, podman: host::in_path("podman").is_some() },
    }
}

fn usual(uid: u32, runtime_dir: Option<String>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if uid != 0 {
        places.extend(runtime_dir.map(|dir| Path::new(&dir).join("podman/podman.sock")));
        places.push(PathBuf::from(format!("/run/user/{uid}/podman/podman.sock")));
    }
    places.extend(["/run/podman/podman.sock", "/var/run/docker.sock"].map(PathBuf::from));
    places.dedup();
    places
}

fn ask(socket: &Path) -> Engine {
    match ping(socket) {
        Ok(head) => {
            let (kind, version) = who(&head);
            Engine::Answers { socket: socket.to_owned(), kind, version: version.and_then(|text| host::version(&text)) }
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Engine::Denied(socket.to_owned()),
        Err(error) => Engine::Silent(socket.to_owned(), error.to_string()),
    }
}

fn ping(socket: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// `Server: Libpod/4.3.1 (linux)` or `Server: Docker/28.2.2 (linux)`.
fn who(head: &str) -> (EngineKind, Option<String>) {
    let server = head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("server")));
    let server = server.map_or("an unknown program", |(_, value)| value.trim());
    let (name, version) = server.split_once('/').unwrap_or((server, ""));
    let version = version.split_ascii_whitespace().next().map(str::to_owned);
    match name {
        "Libpod" => (EngineKind::Podman, version),
        "Docker" => (EngineKind::Docker, version),
        other => (EngineKind::Other(other.to_owned()), version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_known_by_their_server_line() {
        let of = |server: &str| who(&format!("HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\nServer: {server}\r\n\r\nOK"));
        assert_eq!(of("Libpod/4.3.1 (linux)"), (EngineKind::Podman, Some("4.3.1".to_owned())));
        assert_eq!(of("Docker/28.2.2 (linux)"), (EngineKind::Docker, Some("28.2.2".to_owned())));
        assert_eq!(of("nginx").0, EngineKind::Other("nginx".to_owned()));
    }

    #[test]
    fn a_user_has_an_engine_of_their_own_before_that_of_the_machine() {
        let places = |uid| usual(uid, Some("/run/user/1000".to_owned())).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(places(1000), ["/run/user/1000/podman/podman.sock", "/run/podman/podman.sock", "/var/run/docker.sock"]);
        assert_eq!(places(0).len(), 2);
    }

    #[test]
    fn a_socket_that_nobody_serves_any_more_is_silent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(engine(Some(path.display().to_string()), 0), Engine::Silent(..)));
        assert_eq!(engine(Some("tcp://x:1".to_owned()), 0), Engine::NotUnix("tcp://x:1".to_owned()));
    }
}
