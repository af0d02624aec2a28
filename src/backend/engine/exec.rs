//! Commands beside the main process of a container.
use std::time::Duration;

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use futures::StreamExt;
use tokio::time::timeout;

use super::{Engine, Error};

/// How a command ended, or that it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, if it ended in time.
    pub code: Option<i64>,
    /// What it wrote, both streams, at most so much as was asked for.
    pub output: Vec<u8>,
    /// The process id of one that did not end in time.
    pub runs_on: Option<i32>,
}

impl Engine {
    /// Runs a command in a running container, and keeps so many bytes of its output.
    pub async fn exec(&self, container: &str, argv: &[String], limit: Duration, kept: usize) -> Result<Ended, Error> {
        let wanted =
            CreateExecOptions { attach_stdout: Some(true), attach_stderr: Some(true), cmd: Some(argv.to_vec()), ..Default::default() };
        let exec = self.docker().create_exec(container, wanted).await.map_err(self.refused())?.id;
        let mut output = Vec::new();
        let ended = timeout(limit, async {
            let started = self.docker().start_exec(&exec, None::<StartExecOptions>).await.map_err(self.refused())?;
            let StartExecResults::Attached { output: mut lines, input: _input } = started else { return Ok(()) };
            while let Some(line) = lines.next().await {
                let line = LogOutput::into_bytes(line.map_err(self.refused())?);
                let room = kept.saturating_sub(output.len()).min(line.len());
                output.extend_from_slice(line.get(..room).unwrap_or_default());
            }
            Ok(())
        });
        let in_time = match ended.await {
            Ok(ended) => ended.map(|()| true)?,
            Err(_) => false,
        };
        let found = self.docker().inspect_exec(&exec).await.map_err(self.refused())?;
        let runs = found.running.unwrap_or(false);
        let pid = found.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        Ok(Ended { code: found.exit_code.filter(|_| in_time && !runs), output, runs_on: pid.filter(|_| !in_time) })
    }
}
