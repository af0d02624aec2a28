//! Probers over the fake backend, in paused time.
use tokio::sync::mpsc;

use super::*;
use crate::mesh_instance::probes::unknown::UnknownProbes;
use mesh_api::{
    MeshInstance,
    probe::{ExecAction, TcpSocketAction},
};
use mesh_backend::{ExecOutput, fake::FakeBackend};
use mesh_plan::instance::{Action, InstanceKey, Launch, LogLimits, PortOwner, ProcessLaunch};

const HOUR: Duration = Duration::from_secs(3600);

/// One instance without a port, whose probes are commands of the fake.
struct Run {
    fake: FakeBackend,
    answers: Answers,
    target: Target,
}

impl Run {
    fn new() -> Self {
        let key = InstanceKey { namespace: "default".into(), name: "web".into(), uid: "u".into() };
        let launch = ProcessLaunch {
            key: key.clone(),
            attempt: 0,
            argv: vec!["web".into()],
            env: Vec::new(),
            working_dir: "/".into(),
            port: None,
            log: LogLimits { max_bytes: 1 << 20, max_files: 2 },
        };
        let answers = Answers { table: std::sync::Arc::default(), changed: mpsc::unbounded_channel().0, unknown: UnknownProbes::default() };
        answers.table.lock().unwrap().insert(key.uid.clone(), Health::default());
        let target = Target {
            object: kube::runtime::reflector::ObjectRef::<MeshInstance>::new("web").within("default"),
            key,
            attempt: 0,
            address: None,
            inside: None,
            launch: Some(std::sync::Arc::new(Launch::Process(launch))),
            readiness: None,
            liveness: None,
            startup: None,
            adopted_ready: false,
        };
        Self { fake: FakeBackend::new(), answers, target }
    }

    fn health(&self) -> Health {
        self.answers.table.lock().unwrap()["u"].clone()
    }

    /// Probes for so long.
    async fn probe(&self, how_long: Duration) {
        let probe = probe(self.target.clone(), Backend::Fake(self.fake.clone()), self.answers.clone());
        let _ = tokio::time::timeout(how_long, probe).await;
    }
}

fn exec() -> Probe {
    Probe { http_get: None, exec: Some(ExecAction { command: vec!["check".into()] }), ..Probe::http("/") }
}

#[tokio::test(start_paused = true)]
async fn when_descriptors_are_used_up_a_ready_instance_stays_ready_and_alive_and_it_is_told() {
    let mut run = Run::new();
    (run.target.readiness, run.target.liveness) = (Some(exec()), Some(exec()));
    run.probe(HOUR).await;
    assert!(run.health().ready);
    run.target.adopted_ready = true;
    run.fake.run_out(true);
    run.probe(HOUR).await;
    let health = run.health();
    assert!(health.ready && health.dead.is_none(), "{health:?}");
    assert!(health.unknown.as_ref().is_some_and(|why| why.contains("Too many open files")), "{health:?}");
    assert!(run.answers.unknown.counted(Asked::Readiness) > 100 && run.answers.unknown.counted(Asked::Liveness) > 100);
    run.fake.run_out(false);
    run.probe(HOUR).await;
    assert_eq!(run.health().unknown, None);
}

#[tokio::test(start_paused = true)]
async fn failures_before_and_after_a_probe_that_could_not_be_made_count_together() {
    let mut run = Run::new();
    run.target.liveness = Some(exec());
    run.fake.exec_ends(ExecOutput { code: Some(1), output: String::new(), timed_out: false });
    let script = async {
        sleep(Duration::from_secs(25)).await;
        run.fake.run_out(true);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(run.health().dead, None, "two failed, and the others say nothing");
        run.fake.run_out(false);
        sleep(Duration::from_secs(10)).await;
        assert!(run.health().dead.is_some_and(|why| why.contains("failed 3 times")));
    };
    tokio::join!(script, run.probe(HOUR));
}

#[tokio::test(start_paused = true)]
async fn time_in_which_a_startup_probe_could_not_be_made_is_not_the_programs() {
    let mut run = Run::new();
    run.target.startup = Some(exec());
    run.fake.run_out(true);
    run.probe(HOUR).await;
    let health = run.health();
    assert!(health.dead.is_none() && !health.ready && health.unknown.is_some(), "{health:?}");
    run.fake.run_out(false);
    run.fake.exec_ends(ExecOutput { code: Some(1), output: String::new(), timed_out: false });
    run.probe(HOUR).await;
    assert!(run.health().dead.is_some_and(|why| why.starts_with("startup probe failed for 30s")));
}

#[tokio::test(start_paused = true)]
async fn who_else_listens_on_an_instances_port_is_asked_nothing() {
    let thief = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    thief.set_nonblocking(true).unwrap();
    let asked = || thief.accept().map(drop).map_err(|error| error.kind());
    let address = thief.local_addr().unwrap();
    let mut run = Run::new();
    let Some(Launch::Process(launch)) = run.target.launch.as_deref().cloned() else { panic!("not a process") };
    let launch = Launch::Process(ProcessLaunch { port: Some(address.port()), ..launch });
    run.fake.execute(Action::Start(Box::new(launch))).await.unwrap();
    run.target.address = Some(address);
    run.target.readiness = Some(Probe::http("/"));
    run.target.liveness = Some(Probe { http_get: None, tcp_socket: Some(TcpSocketAction { port: None }), ..Probe::http("/") });
    run.fake.own_port(&run.target.key, PortOwner::Foreign("pid 1 (thief)".into()));
    run.probe(HOUR).await;
    assert_eq!(asked(), Err(std::io::ErrorKind::WouldBlock));
    assert!(run.health().dead.as_ref().is_some_and(|why| why.contains("pid 1 (thief)")), "{:?}", run.health());
    run.fake.own_port(&run.target.key, PortOwner::Ours);
    run.probe(Duration::from_secs(30)).await;
    assert_eq!(asked(), Ok(()), "its own is asked");
}
