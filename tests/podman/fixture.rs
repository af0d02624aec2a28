//! A backend with a state directory and a name of its own on the shared engine, which leaves nothing behind.
use std::{collections::BTreeMap, time::Duration};

use mesh_controller::{
    api::container::ImagePullPolicy,
    backend::{Error, LogQuery, engine::Engine, podman::PodmanBackend},
    kit::shutdown::{Shutdown, Supervisor},
    plan::{
        container::{Container, Published, Resources, Security},
        instance::{Action, ContainerLaunch, Exit, ExitHow, InstanceKey, Launch, LogLimits, Observed, Running},
    },
};

use mesh_gear::port;

use super::host::{IMAGE, host, podman};

/// One backend.
pub(crate) struct Machine {
    pub(crate) backend: PodmanBackend,
    pub(crate) state: tempfile::TempDir,
    pub(crate) prefix: String,
    /// With its owner's side, which must live as long.
    shutdown: (Shutdown, Supervisor),
}

/// Ends when it is told to.
pub(crate) const SERVE: &str = "trap 'exit 0' TERM; echo up; httpd -f -p 8080 -h /data & wait";
pub(crate) const IDLE: &str = "trap 'exit 0' TERM; echo up; sleep 1000 & wait";

impl Machine {
    /// None where there is no engine to test with.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let engine = Engine::open(&host()?.socket).await.unwrap();
        Some(Self::on(engine, test, tempfile::tempdir().unwrap()).await)
    }

    pub(crate) async fn on(engine: Engine, test: &str, state: tempfile::TempDir) -> Self {
        let (shutdown, supervisor) = Shutdown::new();
        let backend = PodmanBackend::new(state.path(), engine, shutdown.clone()).await.unwrap();
        Self { backend, state, prefix: format!("mt{}-{test}", std::process::id()), shutdown: (shutdown, supervisor) }
    }

    /// A second one over the same directory and engine, as after kill -9 of the controller.
    pub(crate) async fn another(&self) -> PodmanBackend {
        PodmanBackend::new(self.state.path(), self.backend.engine().clone(), self.shutdown.0.clone()).await.unwrap()
    }

    /// Its controller has ended, and its state directory was removed.
    pub(crate) fn removed(&self) {
        self.shutdown.0.trigger();
        std::fs::remove_dir_all(self.state.path()).unwrap();
    }

    /// The next controller at the place of a removed state directory.
    pub(crate) async fn anew(&mut self) {
        let engine = self.backend.engine().clone();
        std::fs::create_dir(self.state.path()).unwrap();
        let (shutdown, supervisor) = Shutdown::new();
        let begin = async || PodmanBackend::new(self.state.path(), engine.clone(), shutdown.clone()).await.ok();
        self.backend = eventually("the end of the one before", begin).await;
        self.shutdown = (shutdown, supervisor);
    }

    /// `/bin/sh -c script` in a container of the test's image.
    pub(crate) fn sh(&self, name: &str, script: &str) -> ContainerLaunch {
        let key = InstanceKey { namespace: "default".into(), name: name.into(), uid: format!("uid-{}-{name}", self.prefix) };
        let security =
            Security { user: None, group: None, read_only_root: true, no_new_privileges: true, drop: vec!["ALL".into()], add: vec![] };
        let container = Container {
            name: format!("{}-{name}", self.prefix),
            image: IMAGE.into(),
            pull: ImagePullPolicy::Never,
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            args: vec![],
            working_dir: None,
            env: vec![],
            port: None,
            network: self.prefix.clone(),
            aliases: vec![name.into()],
            mounts: vec![],
            resources: Resources::default(),
            security,
            stop_grace: Duration::from_secs(2),
            labels: BTreeMap::new(),
        };
        ContainerLaunch { key, attempt: 0, container, auth: vec![], log: LogLimits { max_bytes: 1 << 20, max_files: 3 } }
    }

    /// An HTTP server with a port.
    pub(crate) fn server(&self, name: &str) -> ContainerLaunch {
        let mut launch = self.sh(name, SERVE);
        launch.container.port = Some(Published { container: 8080, host: port::unused().port() });
        launch
    }

    pub(crate) async fn try_start(&self, launch: &ContainerLaunch) -> Result<(), Error> {
        self.backend.execute(Action::Start(Box::new(Launch::Container(launch.clone())))).await
    }

    pub(crate) async fn start(&self, launch: &ContainerLaunch) -> InstanceKey {
        self.try_start(launch).await.unwrap();
        launch.key.clone()
    }

    /// The text of a start that is refused.
    pub(crate) async fn refused(&self, launch: &ContainerLaunch) -> Error {
        match self.try_start(launch).await {
            Ok(()) => panic!("the start of {} should be refused", launch.key),
            Err(error) => error,
        }
    }

    pub(crate) async fn stop(&self, key: &InstanceKey, grace: Duration) {
        self.backend.execute(Action::Stop { key: key.clone(), grace }).await.unwrap();
    }

    pub(crate) async fn remove(&self, key: &InstanceKey) {
        self.backend.execute(Action::Remove(key.clone())).await.unwrap();
    }

    pub(crate) async fn running(&self, key: &InstanceKey) -> Running {
        match self.backend.observe(key).await.unwrap() {
            Observed::Running(running) => running,
            other => panic!("{key} should run: {other:?}"),
        }
    }

    pub(crate) async fn exited(&self, key: &InstanceKey) -> Exit {
        eventually("the end of the instance", async || match self.backend.observe(key).await.unwrap() {
            Observed::Exited(exit) => Some(exit),
            _ => None,
        })
        .await
    }

    /// What a finished script wrote.
    pub(crate) async fn output(&self, launch: &ContainerLaunch) -> String {
        let key = self.start(launch).await;
        let exit = self.exited(&key).await;
        let log = self.log(&key).await;
        assert_eq!(exit.how, ExitHow::Code(0), "{log}");
        log
    }

    pub(crate) async fn log(&self, key: &InstanceKey) -> String {
        use futures::TryStreamExt;
        let pieces: Vec<bytes::Bytes> = self.backend.logs(key, LogQuery::default()).try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    /// The engine's word on a container of the test's.
    pub(crate) async fn inspect(&self, name: &str, format: &str) -> String {
        podman(&["inspect", "--type", "container", "--format", format, &format!("{}-{name}", self.prefix)]).await.unwrap()
    }

    pub(crate) fn filter(&self) -> String {
        format!("label=mesh-controller.dev/controller={}", self.backend.controller())
    }
}

impl Drop for Machine {
    /// A failed test must not leave its containers to the others.
    fn drop(&mut self) {
        self.shutdown.0.trigger();
        let filter = self.filter();
        let clean = async move {
            let ids = podman(&["ps", "-aq", "--filter", &filter]).await.unwrap_or_default();
            if !ids.is_empty() {
                let mut args = vec!["rm", "-f", "-t", "0", "-v"];
                args.extend(ids.lines());
                let _ = podman(&args).await;
            }
            for (list, remove) in [(["network", "ls"], ["network", "rm"]), (["volume", "ls"], ["volume", "rm"])] {
                let found = podman(&[list[0], list[1], "-q", "--filter", &filter]).await.unwrap_or_default();
                for name in found.lines() {
                    let _ = podman(&[remove[0], remove[1], name]).await;
                }
            }
        };
        std::thread::spawn(|| tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(clean)).join().unwrap();
    }
}

/// Waits for a condition, at most twenty seconds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what} within twenty seconds");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether somebody answers HTTP at an address.
pub(crate) async fn answers(address: std::net::SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else { return false };
    let mut answer = Vec::new();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.")
}
