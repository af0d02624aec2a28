//! Runs a command beside an instance (an `exec` probe), for a limited time. When it ends, or its time does, or nobody waits for it any more, all that
//! it started is ended with it, whatever session that has made for itself.
use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, WaitId, WaitIdOptions, waitid},
};

use crate::{
    below::Below,
    cgroup::{self, Cgroup},
    failed, harden, identity,
    instance::ExitHow,
    launch,
    run::status,
    signals::Signals,
    time::{now, timespec},
    wire::{CommandEnd, CommandSpec, Reply},
};

/// So many bytes of each stream are kept.
const KEPT: usize = 4096;
/// Output is not waited for longer than this after the end, whoever still has it open.
const DRAIN: Duration = Duration::from_millis(100);

/// Runs it to its end.
pub(crate) fn run(spec: CommandSpec, controller: &UnixStream) -> Reply {
    let prepared = harden().and_then(|()| Signals::install());
    let mut signals = match prepared {
        Ok(signals) => signals,
        Err(error) => return failed("prepare the shim", &error),
    };
    let limit = Duration::from_millis(spec.limit_ms);
    let cgroup = spec.cgroup.as_ref().and_then(|delegated| Cgroup::enter(delegated, &spec.nonce).ok());
    let spawned = launch::command(spec.launch, &spec.program, spec.nonce).spawn();
    // One that could not be left holds this shim as well, so it must not be killed as a whole.
    let left = cgroup.as_ref().is_some_and(|cgroup| cgroup.leave().is_ok());
    let group = cgroup.map(|cgroup| cgroup.path().to_owned());
    let reply = match spawned {
        Ok(child) => wait(child, group.clone().filter(|_| left), limit, controller, &mut signals),
        Err(error) => launch::not_executed(&error),
    };
    if let Some(group) = group {
        cgroup::remove(&group);
    }
    reply
}

fn wait(mut child: Child, group: Option<PathBuf>, limit: Duration, controller: &UnixStream, signals: &mut Signals) -> Reply {
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let below = Below::new(Pid::from_raw(pid), group);
    let held = identity::hold(pid).and_then(|held| held.ok_or_else(|| io::Error::other("no pidfd")));
    let command = match held {
        Ok(command) => command,
        Err(error) => {
            below.end(signals);
            return failed("hold the command", &error);
        }
    };
    let mut outputs = Outputs::of(&mut child);
    let how = outputs.until_end(&command, now().checked_add(limit), controller, signals);
    below.end(signals);
    outputs.drain(now() + DRAIN);
    let _ = waitid(WaitId::PidFd(command.as_fd()), WaitIdOptions::EXITED);
    let code = match how {
        Some(ExitHow::Code(code)) => Some(code),
        Some(ExitHow::Signal(_) | ExitHow::Unknown) | None => None,
    };
    Reply::Ended(CommandEnd { code, timed_out: how.is_none(), output: outputs.text() })
}

/// The beginnings of both streams.
struct Outputs([Output; 2]);

struct Output {
    pipe: Option<File>,
    kept: Vec<u8>,
}

impl Outputs {
    fn of(child: &mut Child) -> Self {
        let out = child.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let err = child.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        Self([out, err].map(|pipe| Output { pipe, kept: Vec::new() }))
    }

    /// Reads until the command has ended, and gives how; none if its time is over before, nobody waits for it any more, or this shim is told to end.
    fn until_end(
        &mut self,
        command: &OwnedFd,
        deadline: Option<Instant>,
        controller: &UnixStream,
        signals: &mut Signals,
    ) -> Option<ExitHow> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            match self.poll([command.as_fd(), controller.as_fd(), signals.wake.as_fd()], left) {
                [true, _, _] => return Some(status(command)),
                [_, true, _] => return None,
                [_, _, true] if signals.take() => return None,
                _ => {}
            }
        }
    }

    /// Reads until both are closed, or until then.
    fn drain(&mut self, until: Instant) {
        while self.0.iter().any(|output| output.pipe.is_some()) && now() < until {
            self.poll([], Some(until.saturating_duration_since(now())));
        }
    }

    /// Waits until there is something to do, and reads what is there. Which of the others have something.
    fn poll<const N: usize>(&mut self, others: [BorrowedFd<'_>; N], timeout: Option<Duration>) -> [bool; N] {
        let mut fds: Vec<PollFd<'_>> = others.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        fds.extend(self.0.iter().filter_map(|output| output.pipe.as_ref()).map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        // Interrupted by a signal: the next round sees what it left.
        let _ = poll(&mut fds, timeout.map(timespec).as_ref());
        let mut woken = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        let others = [(); N].map(|()| woken.next().unwrap_or_default());
        let open = self.0.iter_mut().filter(|output| output.pipe.is_some());
        open.zip(woken).filter(|(_, woken)| *woken).for_each(|(output, _)| output.read());
        others
    }

    fn text(&self) -> String {
        self.0.iter().map(|output| String::from_utf8_lossy(&output.kept)).collect()
    }
}

impl Output {
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        let count = self.pipe.as_mut().map_or(0, |pipe| pipe.read(&mut chunk).unwrap_or(0));
        let room = KEPT.saturating_sub(self.kept.len()).min(count);
        self.kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
        if count == 0 {
            self.pipe = None;
        }
    }
}
