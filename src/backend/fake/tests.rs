//! The fake backend does what it is told, and keeps count of it.
use super::*;
use mesh_plan::instance::{LogLimits, ProcessLaunch};

fn launch(name: &str, attempt: u32) -> Launch {
    Launch::Process(ProcessLaunch {
        key: InstanceKey { namespace: "default".into(), name: name.into(), uid: format!("uid-{name}") },
        attempt,
        argv: vec!["web".into()],
        env: Vec::new(),
        working_dir: "/".into(),
        port: Some(9000),
        log: LogLimits { max_bytes: 1, max_files: 1 },
    })
}

async fn start(backend: &FakeBackend, attempt: u32) -> Result<InstanceKey, Error> {
    let launch = launch("web", attempt);
    let key = launch.key().clone();
    backend.execute(Action::Start(Box::new(launch))).await.map(|()| key)
}

#[tokio::test]
async fn it_starts_once_per_attempt_and_stops_as_scripted() {
    let backend = FakeBackend::new();
    let mut changes = backend.changes();
    let key = start(&backend, 0).await.unwrap();
    assert_eq!(changes.next().await, Some(key.clone()));
    assert!(!backend.port_is_free(9000) && backend.port_is_free(9001));
    backend.on_stop(OnStop::Wait);
    let stop = |seconds| Action::Stop { key: key.clone(), grace: Duration::from_secs(seconds) };
    backend.execute(stop(5)).await.unwrap();
    assert!(matches!(backend.observe(&key).await.unwrap(), Observed::Running(running) if running.stopping));
    assert!(matches!(backend.execute(Action::Remove(key.clone())).await, Err(Error::StillRuns(_))));
    backend.execute(stop(0)).await.unwrap();
    assert!(matches!(backend.observe(&key).await.unwrap(), Observed::Exited(exit) if exit.how == ExitHow::Signal(9)));
    start(&backend, 0).await.unwrap();
    assert!(matches!(backend.observe(&key).await.unwrap(), Observed::Exited(_)), "the same attempt is not started twice");
    start(&backend, 1).await.unwrap();
    assert_eq!(backend.running(), ["web"]);
}

#[tokio::test]
async fn a_scripted_failure_names_the_instance_until_it_is_lifted() {
    let backend = FakeBackend::new();
    backend.fail_start("web", "no memory");
    assert_eq!(start(&backend, 0).await.unwrap_err().to_string(), "start default/web: no memory");
    backend.allow_start("web");
    let key = start(&backend, 0).await.unwrap();
    assert_eq!(backend.take_actions().len(), 2);
    assert_eq!(backend.list().await.unwrap(), [key]);
}
