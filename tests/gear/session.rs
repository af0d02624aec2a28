//! A `mesh` that runs in a directory of the test's own, and what it has said so far.
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
    time::{Instant, timeout, timeout_at},
};

const LONG: Duration = Duration::from_mins(1);

pub struct End {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(crate::program::program("mesh"));
    command.args(words).current_dir(dir).stdin(Stdio::null());
    command.env_clear().env("HOME", dir).env("XDG_STATE_HOME", dir.join("state")).env("PATH", std::env::var_os("PATH").unwrap());
    command
}

/// Runs `mesh` to its end.
pub fn mesh(dir: &Path, words: &[&str]) -> End {
    mesh_with(dir, &[], words)
}

/// The same with variables in its environment.
pub fn mesh_with(dir: &Path, variables: &[(&str, &str)], words: &[&str]) -> End {
    let output = command(dir, words).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    End { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The exit code of `mesh` whose output nothing takes, and what it says of that.
pub fn mesh_to_full_disk(dir: &Path, words: &[&str]) -> (i32, String) {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command(dir, words).stdout(full).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// A directory with a mesh.yaml that has one service, `one`, of that spec.
pub fn project(spec: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: one}}\nspec: {spec}\n");
    std::fs::write(dir.path().join("mesh.yaml"), text).unwrap();
    dir
}

/// The example's program; `cargo test` builds it, `cargo test --test cli` does not.
pub fn shop() -> PathBuf {
    crate::controller::shop()
}

pub struct Session {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: String,
}

impl Session {
    /// One that runs services.
    pub fn start(dir: &TempDir, words: &[&str]) -> Self {
        Self::of(dir.path(), &[words, &["--router-listen", "127.0.0.1:0"]].concat())
    }

    /// Any.
    pub fn of(dir: &Path, words: &[&str]) -> Self {
        let mut command = tokio::process::Command::from(command(dir, words));
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, said: String::new() }
    }

    /// Reads until a line has these words, unless one had them already; that line.
    pub async fn until(&mut self, words: &str) -> String {
        self.until_line(words, |line| line.contains(words)).await
    }

    /// Reads until a line is right, unless one was already; that line.
    pub async fn until_line(&mut self, what: &str, right: impl Fn(&str) -> bool) -> String {
        if let Some(line) = self.said.lines().find(|line| right(line)) {
            return line.to_owned();
        }
        let deadline = Instant::now() + LONG;
        loop {
            let line = timeout_at(deadline, self.lines.next_line()).await;
            let Ok(Ok(Some(line))) = line else { panic!("{what:?} was not said:\n{}", self.said) };
            self.said.push_str(&line);
            self.said.push('\n');
            if right(&line) {
                return line;
            }
        }
    }

    /// Everything that it has said.
    pub fn output(&self) -> &str {
        &self.said
    }

    /// Ctrl-C.
    pub fn signal(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }

    /// Ctrl-C, and waits for the end: its exit code.
    pub async fn interrupt(&mut self) -> Option<i32> {
        self.signal();
        self.end().await
    }

    /// Its end without a warning, as by a machine that is short of memory.
    pub async fn kill_9(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Closes what it writes to, as `head` does when it has enough, and waits for the end: its exit code.
    pub async fn unread(self) -> Option<i32> {
        let Self { mut child, lines, .. } = self;
        drop(lines);
        timeout(LONG, child.wait()).await.unwrap().unwrap().code()
    }

    /// Waits for the end: its exit code; none if a signal was its end.
    pub async fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + LONG;
        while let Ok(Ok(Some(line))) = timeout_at(deadline, self.lines.next_line()).await {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        timeout(LONG, self.child.wait()).await.unwrap().unwrap().code()
    }
}
