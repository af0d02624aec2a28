//! Opening an engine: what is there, what is not, what is not one.
use std::os::unix::net::UnixListener;

use mesh_controller::backend::engine::{Engine, Error, Kind, OLDEST_PODMAN};

use super::host::host;

#[tokio::test]
async fn podman_is_known_by_its_answer() {
    let Some(host) = host() else { return };
    let engine = Engine::open(&host.socket).await.unwrap();
    assert_eq!(engine.kind(), Kind::Podman);
    assert!(engine.version() >= OLDEST_PODMAN);
    assert!(!engine.info().architecture.is_empty() && !engine.info().log_driver.is_empty() && !engine.info().cgroup_version.is_empty());
    assert!(engine.name().starts_with("Podman at /"));
}

#[tokio::test]
async fn what_is_absent_or_no_engine_or_too_old_is_said_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let absent = Engine::open(&dir.path().join("none.sock")).await.unwrap_err();
    assert!(matches!(absent, Error::Unreachable { .. }) && absent.to_string().contains("enable --now podman.socket"), "{absent}");
    for (name, answer, text) in [
        ("http", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "is no container engine"),
        ("web", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404"),
        ("old", "HTTP/1.1 200 OK\r\nLibpod-Api-Version: 3.4.4\r\nContent-Length: 0\r\n\r\n", "Podman 3.4.4 at"),
        ("odd", "SSH-2.0-OpenSSH\r\n", "is it running?"),
    ] {
        let socket = dir.path().join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = Engine::open(&socket).await.unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(&socket.display().to_string()), "{name}: {error}");
        serve.join().unwrap();
    }
}
