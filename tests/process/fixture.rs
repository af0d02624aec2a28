//! A backend over a state directory of its own, which leaves nothing running.
use std::{
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use mesh_backend::{Error, process::ProcessBackend};
use mesh_kit::{
    redact::Redacted,
    shutdown::{Shutdown, Supervisor},
};
use mesh_plan::instance::{Action, Exit, InstanceKey, Launch, LogLimits, Observed, ProcessLaunch, Running};

/// One backend and its directory.
pub(crate) struct Machine {
    pub(crate) backend: ProcessBackend,
    pub(crate) state: tempfile::TempDir,
    shutdown: Shutdown,
    _supervisor: Supervisor,
}

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_mesh-shim");

impl Machine {
    pub(crate) fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap())
    }

    pub(crate) fn over(state: tempfile::TempDir) -> Self {
        let (shutdown, supervisor) = Shutdown::new();
        let backend = ProcessBackend::new(state.path(), SHIM.into(), shutdown.clone()).unwrap();
        Self { backend, state, shutdown, _supervisor: supervisor }
    }

    /// As after kill -9 of the controller: the memory is gone, the directory stays.
    pub(crate) fn reborn(mut self) -> Self {
        self.shutdown.trigger();
        let state = std::mem::replace(&mut self.state, tempfile::tempdir().unwrap());
        drop(self);
        Self::over(state)
    }

    /// A second one over the same directory, as if the first had just been killed.
    pub(crate) fn another(&self) -> ProcessBackend {
        ProcessBackend::new(self.state.path(), SHIM.into(), self.shutdown.clone()).unwrap()
    }

    pub(crate) fn dir(&self, key: &InstanceKey) -> PathBuf {
        self.state.path().join("instances").join(&key.uid)
    }

    pub(crate) async fn start(&self, launch: ProcessLaunch) -> Result<InstanceKey, Error> {
        let key = launch.key.clone();
        self.backend.execute(Action::Start(Box::new(Launch::Process(launch)))).await.map(|()| key)
    }

    pub(crate) async fn stop(&self, key: &InstanceKey, grace: Duration) {
        self.backend.execute(Action::Stop { key: key.clone(), grace }).await.unwrap();
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
}

impl Drop for Machine {
    /// A failed test must not leave its programs behind: the shims get SIGTERM and SIGKILL their trees as the records say.
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.state.path().join("instances")) else { return };
        for entry in entries.flatten() {
            let Ok(text) = std::fs::read(entry.path().join("record.json")) else { continue };
            if entry.path().join("exit.json").exists() {
                continue;
            }
            let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            kill_marked(record["nonce"].as_str().unwrap_or_default());
        }
    }
}

fn kill_marked(nonce: &str) {
    let mark = format!("MESH_NONCE={nonce}");
    for pid in std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if nonce.len() > 16 && environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()) {
            kill(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: i32, signal: rustix::process::Signal) {
    let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal);
}

/// What is started: `/bin/sh -c script`, in the temporary directory.
pub(crate) fn sh(name: &str, script: &str) -> ProcessLaunch {
    program(name, &["/bin/sh", "-c", script])
}

pub(crate) fn program(name: &str, argv: &[&str]) -> ProcessLaunch {
    ProcessLaunch {
        key: InstanceKey { namespace: "default".into(), name: name.into(), uid: format!("uid-{name}") },
        attempt: 0,
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec![("PATH".into(), Redacted::new("/usr/bin:/bin"))],
        working_dir: "/".into(),
        port: None,
        log: LogLimits { max_bytes: 1 << 20, max_files: 3 },
    }
}

/// Waits for a condition, at most ten seconds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {what} within ten seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a file that a program writes its process ids or other words into, and gives them.
pub(crate) async fn words(path: &Path, count: usize) -> Vec<String> {
    eventually(&format!("{count} words in {}", path.display()), async || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        (words.len() >= count && text.ends_with('\n')).then_some(words)
    })
    .await
}

/// Whether a process exists and is no zombie.
pub(crate) fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
