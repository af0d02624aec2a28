//! Runs a command beside an instance (an `exec` probe): bounded in time and in what is kept of its output, and nothing of it stays.
use std::{io, os::fd::OwnedFd, path::Path, pin::pin, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::unix::AsyncFd,
    process::{Child, Command},
    time::timeout,
};

use super::program;
use crate::{Error, ExecOutput, output::collect, ready};
use mesh_kit::descriptors;
use mesh_plan::instance::ProcessLaunch;
use mesh_shim::identity;

/// Output is not waited for longer than this after the end, whoever still has it open.
const DRAIN: Duration = Duration::from_millis(100);

/// Runs it. When it ends, or its time does, or nobody waits for it any more, its whole group is killed.
pub(crate) async fn exec(launch: &ProcessLaunch, argv: &[String], limit: Duration) -> Result<ExecOutput, Error> {
    let launch = ProcessLaunch { argv: argv.to_vec(), ..launch.clone() };
    let file = program::resolve(&launch)?;
    let (mut child, group, end) = spawn(&launch, &file).map_err(|error| refused(&file, error))?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let timed_out = {
        let mut output = pin!(async { tokio::join!(collect(stdout, &mut out), collect(stderr, &mut err)) });
        let mut drained = false;
        let ended = timeout(limit, async {
            tokio::select! {
                _ = end.readable() => {}
                _ = &mut output => {
                    drained = true;
                    // Closed both and runs on.
                    let _ = end.readable().await;
                }
            }
        });
        let timed_out = ended.await.is_err();
        drop(group);
        if !drained {
            let _ = timeout(DRAIN, output).await;
        }
        timed_out
    };
    let status = child.wait().await.map_err(|error| refused(&file, error))?;
    out.append(&mut err);
    let code = if timed_out { None } else { status.code() };
    Ok(ExecOutput { code, output: String::from_utf8_lossy(&out).into_owned(), timed_out })
}

/// Kills its group when it goes. It must go before the command is waited for, while the group's id cannot be another's.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // An empty group is what is wanted.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

fn spawn(launch: &ProcessLaunch, file: &Path) -> io::Result<(Child, Group, AsyncFd<OwnedFd>)> {
    let mut command = Command::new(file);
    if let Some((name, arguments)) = launch.argv.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(launch.env.iter().map(|(name, value)| (name, value.reveal())));
    command.current_dir(&launch.working_dir).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn()?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or(io::ErrorKind::NotFound)?;
    // One that has ended already needs no limit.
    let _ = Pid::from_raw(pid).map(descriptors::give_back);
    let group = Group(Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?);
    let end = identity::hold(pid).ok_or_else(|| io::Error::other("no pidfd"))?;
    Ok((child, group, ready::watch(end)?))
}

fn refused(file: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(errno) => program::refusal(file.to_owned(), errno),
        None => Error::System { act: format!("execute {}", file.display()), source: error },
    }
}
