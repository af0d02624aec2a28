//! The command that runs while a key is held, and everything that it starts: none of it goes on without the key.
use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout_at},
};

use super::held::{Held, Wanted};
use crate::{
    exit::{Code, Failure, Result},
    output,
    signals::{Asked, Signals},
};
use mesh_shim::tree;

/// Between two looks at what has not ended yet.
const ROUND: Duration = Duration::from_millis(10);
/// How long to go on killing what does not die.
const KILLING: Duration = Duration::from_secs(5);

/// Runs it; fails with its exit code where that is not 0.
pub(super) async fn run(mut held: Held, wanted: &Wanted, command: &[String]) -> Result {
    let mut signals = Signals::new()?;
    // What the command leaves behind becomes a child of this process, so that it is found.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(std::io::Error::from)?;
    let (program, arguments) = command.split_first().ok_or_else(|| Failure::new(Code::Usage, "there is no command"))?;
    let mut command = Command::new(program);
    command.args(arguments).env("MESH_FENCE", held.fence().to_string());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            held.release().await;
            return Err(Failure::from(error).context(format!("start {program}")));
        }
    };
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let ended = loop {
        tokio::select! {
            status = child.wait() => break Ended::Itself(status?),
            why = held.lost() => break Ended::Lost(why),
            asked = signals.asked() => pass_on(asked, pid),
        }
    };
    match ended {
        Ended::Itself(status) => {
            end_all(Duration::ZERO).await;
            held.release().await;
            result(status)
        }
        Ended::Lost(why) => {
            output::remark(&format!("mesh: {} is lost: {why}; its command is ended\n", wanted.what()));
            // Another may have it when what was told before its end is over.
            end_all(mesh_coordination::locks::notice(wanted.ttl) / 2).await;
            Err(Failure::said(Code::Conflict))
        }
    }
}

enum Ended {
    Itself(ExitStatus),
    Lost(String),
}

/// A terminal sends Ctrl-C to the command too; SIGTERM and SIGHUP come here alone.
fn pass_on(asked: Asked, child: Option<Pid>) {
    let signal = match asked {
        Asked::End(Code::Interrupted) => return,
        Asked::End(_) => Signal::TERM,
        Asked::Hangup => Signal::HUP,
    };
    if let Some(child) = child {
        // It may have ended just now.
        let _ = kill_process(child, signal);
    }
}

/// Ends everything below this process: asked first, where there is time for that.
async fn end_all(grace: Duration) {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let asked = if grace.is_zero() { Vec::new() } else { tree::descendants(own).unwrap_or_default() };
    for pid in asked.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let gone = async {
        while tree::descendants(own).is_ok_and(|left| left.iter().any(|pid| lives(*pid))) {
            sleep(ROUND).await;
        }
    };
    let _ = timeout_at(Instant::now() + grace, gone).await;
    let end = Instant::now() + KILLING;
    while tree::kill_below(own).unwrap_or(1) > 0 && Instant::now() < end {
        sleep(ROUND).await;
    }
}

fn lives(pid: i32) -> bool {
    mesh_shim::identity::Stat::of(pid).ok().flatten().is_some_and(|stat| stat.lives())
}

/// The command's end as this program's: its exit code, or 128 and the signal, as shells have it.
fn result(status: ExitStatus) -> Result {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    match u8::try_from(code) {
        Ok(0) => Ok(()),
        code => Err(Failure::said(Code::Program(code.unwrap_or(1)))),
    }
}
