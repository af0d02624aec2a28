//! Guards a command that may run only while its holder holds something: a process between the two, which ends the command and everything that it started
//! when the holder is gone, and when what the holder said last of its time is over. So a holder that is killed, stopped or stuck leaves nothing running.
//!
//! The command stays in the holder's process group and has the holder's standard input: it reads the terminal and gets Ctrl-C as if there were no guard.
//! The guard leaves that group, and goes on when the terminal or a shell stops it. It leaves the session too: a parent in another group of the same one
//! counts as one who looks after the group, and with its end the kernel hangs up on all of it where one of it is stopped (setpgid(2), "orphaned").
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg},
    process::{Pid, Signal, WaitId, WaitIdOptions, waitid},
};
use serde::{Deserialize, Serialize};

use crate::{
    below::Below,
    control::{self, Connection},
    identity,
    instance::ExitHow,
    run::status,
    signals::Signals,
    time::timespec,
    wire,
};
use mesh_base::clock::BootClock;

/// The longest wait between two looks at the clock: waiting does not count the time that the machine sleeps, what is held does.
const LOOK: Duration = Duration::from_secs(1);

/// How long the command may run, by the time since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until {
    /// Then all of it gets SIGTERM.
    pub ask: Duration,
    /// Then all of it gets SIGKILL.
    pub kill: Duration,
}

/// What the holder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// The command may run until then.
    Until(Until),
    /// The command gets this signal.
    Signal(i32),
    /// All of it is killed.
    Kill,
}

/// The exit code for a command that cannot be started, as env(1) and shells have it.
fn not_started(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

/// How it ended, as the guard says once, when nothing of it is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ended {
    /// It could not be started: the exit code that env(1) has for that, and why.
    NotStarted(u8, String),
    /// The command ended.
    Command(ExitHow),
    /// Its time was over.
    Overdue,
}

/// Hands the guard its command's standard input, and until when that may run: the first that is said.
///
/// # Errors
/// The guard is gone.
pub fn begin(guard: &UnixStream, stdin: impl AsFd, until: Until) -> io::Result<()> {
    let line = wire::line(&until)?;
    let descriptors = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(guard, &[IoSlice::new(&line)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The guard's whole life: the holder is at its standard input.
///
/// # Errors
/// Nobody is there who holds anything; or the guard cannot do its work. The command is not started then.
pub fn run(program: &str, arguments: &[String]) -> io::Result<()> {
    let holder = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (stdin, until) = begun(&holder)?;
    // Or it would be called after the link that it was executed by.
    rustix::thread::set_name(c"lock-guard")?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut signals = Signals::install()?;
    let ended = match Command::new(program).args(arguments).stdin(Stdio::from(stdin)).spawn() {
        Ok(child) => {
            // Now that the command is in the holder's group. It cannot fail: this was spawned, and leads no group.
            let _ = rustix::process::setsid();
            Guarded::new(i32::try_from(child.id()).map_err(io::Error::other)?, until)?.watch(&holder, &mut signals)?
        }
        Err(error) => Some(Ended::NotStarted(not_started(&error), error.to_string())),
    };
    match ended {
        Some(ended) => control::send(&holder, &wire::line(&ended)?),
        None => Ok(()),
    }
}

/// What stands at the beginning: a descriptor bars what is read with it from what is said later (unix(7)).
fn begun(holder: &UnixStream) -> io::Result<(OwnedFd, Until)> {
    let mut line = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let read = recvmsg(holder, &mut [IoSliceMut::new(&mut line)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let stdin = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let until = serde_json::from_slice(line.get(..read).unwrap_or_default())?;
    Ok((stdin.ok_or(io::ErrorKind::InvalidData)?, until))
}

/// A command that runs.
struct Guarded {
    below: Below,
    pidfd: OwnedFd,
    until: Until,
    asked: bool,
}

impl Guarded {
    fn new(pid: i32, until: Until) -> io::Result<Self> {
        let pidfd = identity::hold(pid)?.ok_or_else(|| io::Error::other("no pidfd"))?;
        Ok(Self { below: Below::new(Pid::from_raw(pid), None), pidfd, until, asked: false })
    }

    /// Until nothing of it is left; none if nobody is there to be told.
    fn watch(mut self, holder: &UnixStream, signals: &mut Signals) -> io::Result<Option<Ended>> {
        let mut holder = Connection::new(holder.try_clone()?)?;
        let clock = BootClock::system();
        let ended = loop {
            if self.has_ended() {
                let how = status(&self.pidfd);
                break Some(if self.asked { Ended::Overdue } else { Ended::Command(how) });
            }
            let Some(words) = holder.read() else { break None };
            for word in words {
                self.heed(word, signals);
            }
            let now = clock.now().since_boot();
            if now >= self.until.kill {
                break Some(Ended::Overdue);
            }
            if now >= self.until.ask && !self.asked {
                self.asked = true;
                self.below.terminate();
            }
            let next = if self.asked { self.until.kill } else { self.until.ask };
            let mut fds =
                [self.pidfd.as_fd(), holder.socket.as_fd(), signals.wake.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            // Interrupted, it looks again.
            let _ = poll(&mut fds, Some(&timespec(next.saturating_sub(now).min(LOOK))));
            signals.take();
            self.below.reap_orphans();
        };
        self.below.end(signals);
        Ok(ended)
    }

    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options).is_ok_and(|ended| ended.is_some())
    }

    fn heed(&mut self, word: Word, signals: &mut Signals) {
        match word {
            Word::Until(until) => self.until = until,
            Word::Signal(signal) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    self.below.signal_child(signal);
                }
            }
            Word::Kill => self.below.end(signals),
        }
    }
}
