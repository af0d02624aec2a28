//! The process between this one and its command, and what it is told: see [`mesh_shim::guard`].
use std::{io, os::unix::net::UnixStream as Socket, process::Stdio, time::Duration};

use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
};

use crate::exit::{Code, Failure, Result};
use mesh_coordination::locks::notice;
use mesh_kit::clock::BootTime;
use mesh_shim::{
    guard::{Ended, Until, Word},
    wire,
};

/// What is guarded.
#[derive(Debug, Args)]
pub(super) struct Guarded {
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Guarded {
    pub(super) fn run(&self) -> Result {
        let (program, arguments) = self.command.split_first().ok_or_else(|| Failure::new(Code::Usage, "there is no command"))?;
        mesh_shim::guard::run(program, arguments).map_err(|error| Failure::from(error).context("guard a command for `run`"))
    }
}

/// The guard, while it runs.
pub(super) struct Guard {
    _process: Child,
    says: Lines<BufReader<OwnedReadHalf>>,
    hears: OwnedWriteHalf,
}

impl Guard {
    /// Starts the command under a guard.
    pub(super) fn start(command: &[String], fence: u64, until: Until) -> io::Result<Self> {
        let (ours, its) = Socket::pair()?;
        let mut guard = Command::new("/proc/self/exe");
        guard.arg0("mesh").args(["lock", "guard", "--"]).args(command).env("MESH_FENCE", fence.to_string());
        let process = guard.stdin(Stdio::from(std::os::fd::OwnedFd::from(its))).spawn()?;
        mesh_shim::guard::begin(&ours, io::stdin(), until)?;
        ours.set_nonblocking(true)?;
        let (says, hears) = UnixStream::from_std(ours)?.into_split();
        Ok(Self { _process: process, says: BufReader::new(says).lines(), hears })
    }

    /// Tells it something. One that is stopped hears it when it wakes; one that is gone says so itself.
    pub(super) fn tell(&self, word: Word) {
        let _ = wire::line(&word).map(|line| self.hears.try_write(&line));
    }

    /// How the command ended; none if the guard has gone before it.
    pub(super) async fn ended(&mut self) -> Option<Ended> {
        serde_json::from_str(&self.says.next_line().await.ok()??).ok()
    }
}

/// How long a command may run under what is held until then: its end has to be seen before another can have it.
pub(super) fn until(end: BootTime, ttl: Duration) -> Until {
    let before = |notice| end.since_boot().saturating_sub(notice);
    Until { ask: before(notice(ttl)), kill: before(notice(ttl) / 2) }
}
