//! The command that runs while a key is held, and everything that it starts: none of it goes on without the key.
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{
    guard::{Guard, until},
    held::{Held, News, Wanted},
    signals::{Asked, Signals},
};
use crate::{
    exit::{Code, Failure, Result},
    output,
};
use mesh_coordination::locks::notice;
use mesh_shim::{
    guard::{Ended, Word},
    instance::ExitHow,
    tree,
};

/// Between two looks at what has not ended yet.
const ROUND: Duration = Duration::from_millis(10);
/// How long to go on killing what does not die.
const KILLING: Duration = Duration::from_secs(5);

/// Runs it; fails with its exit code where that is not 0.
pub(super) async fn run(mut held: Held, wanted: &Wanted, command: &[String]) -> Result {
    let mut signals = Signals::new()?;
    // What a guard that was killed leaves behind becomes a child of this process, so that it is found.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(std::io::Error::from)?;
    let mut guard = match Guard::start(command, held.fence(), until(held.until(), wanted.ttl)) {
        Ok(guard) => guard,
        Err(error) => {
            end_all().await;
            held.release().await;
            return Err(Failure::from(error).context("start the guard of the command"));
        }
    };
    let mut asked = Asked::default();
    let ended = loop {
        tokio::select! {
            ended = guard.ended() => break ended,
            news = held.news() => match news {
                News::Renewed(end) => guard.tell(Word::Until(until(end, wanted.ttl))),
                News::Lost(loss) => {
                    lost(wanted, &loss.why);
                    if loss.leaves_time {
                        // The guard ends it in that time, if it is not stopped itself.
                        let _ = timeout(notice(wanted.ttl) / 2, guard.ended()).await;
                    }
                    end_all().await;
                    return Err(Failure::said(Code::Conflict));
                }
            },
            signal = signals.next() => guard.tell(if asked.again(signal, Instant::now()) { Word::Kill } else { Word::Signal(signal) }),
        }
    };
    end_all().await;
    match ended {
        Some(Ended::Overdue) => {
            lost(wanted, "it was not renewed in time");
            Err(Failure::said(Code::Conflict))
        }
        Some(Ended::Command(how)) => {
            held.release().await;
            result(&how)
        }
        Some(Ended::NotStarted(code, error)) => {
            held.release().await;
            let program = command.first().map(String::as_str).unwrap_or_default();
            Err(Failure::new(Code::Program(code), format!("start {program}: {error}")))
        }
        None => {
            held.release().await;
            Err(Failure::new(Code::Failed, "the guard of the command was killed, and the command with it"))
        }
    }
}

fn lost(wanted: &Wanted, why: &str) {
    output::remark(&format!("mesh: {} is lost: {why}; its command is ended\n", wanted.what()));
}

/// Kills everything below this process: nothing is left of what the guard has ended.
async fn end_all() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let end = Instant::now() + KILLING;
    while tree::kill_below(own).unwrap_or(1) > 0 && Instant::now() < end {
        sleep(ROUND).await;
    }
}

/// The command's end as this program's: its exit code, or 128 and the signal, as shells have it.
fn result(how: &ExitHow) -> Result {
    let code = match how {
        ExitHow::Code(code) => *code,
        ExitHow::Signal(signal) => 128 + signal,
        ExitHow::Unknown => 1,
    };
    match u8::try_from(code) {
        Ok(0) => Ok(()),
        code => Err(Failure::said(Code::Program(code.unwrap_or(1)))),
    }
}
