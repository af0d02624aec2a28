//! An engine that is stuck with one container: that is seen, named, overcome, and stands in nobody else's way.
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mesh_controller::{
    backend::{Error, engine::Engine},
    plan::instance::Observed,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

use super::{
    fixture::{Machine, eventually},
    host::host,
};

/// Passes everything on to the engine, but what would end the container of this name or id: that it refuses.
async fn stand_between(listener: UnixListener, engine: PathBuf, stuck: Arc<AtomicBool>) {
    let mut all = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        all.spawn(pass(client, engine.clone(), Arc::clone(&stuck)));
    }
}

async fn pass(mut client: UnixStream, engine: PathBuf, stuck: Arc<AtomicBool>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if client.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap().to_owned();
    let ends = line.contains("/stop?") || line.contains("/kill?") || line.starts_with("DELETE");
    if ends && stuck.load(Ordering::Relaxed) {
        let body = r#"{"message":"given PID did not die within timeout"}"#;
        let answer = format!("HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let _ = client.write_all(answer.as_bytes()).await;
        return;
    }
    let mut server = UnixStream::connect(engine).await.unwrap();
    server.write_all(&head).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

async fn proxied(socket: &Path, dir: &Path) -> (Engine, Arc<AtomicBool>, JoinSet<()>) {
    let stuck = Arc::new(AtomicBool::new(false));
    let own = dir.join("proxy.sock");
    let mut tasks = JoinSet::new();
    tasks.spawn(stand_between(UnixListener::bind(&own).unwrap(), socket.to_owned(), Arc::clone(&stuck)));
    (Engine::open(&own).await.unwrap(), stuck, tasks)
}

#[tokio::test]
async fn a_stop_that_the_engine_cannot_do_is_named_and_then_done_by_force() {
    let Some(host) = host() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (engine, stuck, _tasks) = proxied(&host.socket, dir.path()).await;
    let machine = Machine::on(engine, "stuck", tempfile::tempdir().unwrap()).await;
    let launch = machine.sh("web", "trap '' TERM; while :; do sleep 1; done");
    let (web, other) = (machine.start(&launch).await, machine.start(&machine.server("other")).await);
    machine.running(&web).await;
    stuck.store(true, Ordering::Relaxed);
    machine.stop(&web, Duration::from_secs(60)).await;
    let error = eventually("trouble", async || machine.backend.observe(&web).await.err()).await;
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&launch.container.name) && text.contains("did not die") && text.contains("podman rm -f"), "{text}");
    machine.running(&other).await;

    machine.stop(&web, Duration::ZERO).await;
    eventually("end", async || matches!(machine.backend.observe(&web).await, Ok(Observed::Exited(_))).then_some(())).await;
    stuck.store(false, Ordering::Relaxed);
    machine.remove(&web).await;
    machine.running(&other).await;
}
