//! A command in an instance's container (an `exec` probe): bounded in time and in what is kept of its output.
use std::time::Duration;

use super::{Inner, podman};
use crate::{
    Error, ExecOutput,
    output::{KEPT, collect},
    podman::{process, refusal::refused},
};

impl Inner {
    /// Runs it: by the engine's socket, which can end what runs too long; by the command line where there is none.
    pub(super) async fn exec(&self, container: &str, argv: &[String], limit: Duration) -> Result<ExecOutput, Error> {
        let Some(engine) = self.engines.get(self.place.manager).await else { return by_command(container, argv, limit).await };
        let program = || argv.first().cloned().unwrap_or_default();
        let act = || format!("execute {} in {container}", program());
        let ended = match engine.exec(container, argv, limit, KEPT).await {
            Err(error) if error.says("executable file") || error.says("no such file or directory") => {
                return Err(Error::CommandNotFound { program: program(), path: None });
            }
            ended => ended.map_err(|error| refused(&engine, act(), &error))?,
        };
        if let Some(pid) = ended.runs_on {
            // Without its id nothing says that the process is of this container.
            if let Ok(Some(found)) = engine.inspect(container).await {
                process::kill(pid, &found.id).map_err(|source| Error::System { act: act(), source })?;
            }
        }
        let code = ended.code.and_then(|code| i32::try_from(code).ok());
        let timed_out = ended.runs_on.is_some() || ended.code.is_none();
        Ok(ExecOutput { code, output: String::from_utf8_lossy(&ended.output).into_owned(), timed_out })
    }
}

/// Podman is ended when its time is over.
async fn by_command(container: &str, argv: &[String], limit: Duration) -> Result<ExecOutput, Error> {
    let words: Vec<&str> = ["exec", "--", container].into_iter().chain(argv.iter().map(String::as_str)).collect();
    let mut child = podman::command(&words).spawn().map_err(podman::missing)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let run = async {
        tokio::join!(collect(stdout, &mut out), collect(stderr, &mut err));
        child.wait().await
    };
    let ended = tokio::time::timeout(limit, run).await;
    let (code, timed_out) = match ended {
        Ok(status) => (status.map_err(podman::missing)?.code(), false),
        Err(_) => (None, true),
    };
    out.append(&mut err);
    Ok(ExecOutput { code, output: String::from_utf8_lossy(&out).into_owned(), timed_out })
}
