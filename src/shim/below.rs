//! The tree below this shim: everything that the program, or the command, has started, however often that forked. And how all of it is ended.
use std::{path::PathBuf, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid},
};

use crate::{
    cgroup,
    signals::Signals,
    time::{now, timespec},
    tree,
};

/// How long to go on killing a tree that does not die.
const KILL_TIME: Duration = Duration::from_secs(5);
/// The wait between two rounds for those whose parent is not the shim: of their end no signal comes.
const ROUND: Duration = Duration::from_millis(5);

/// The tree.
#[derive(Debug)]
pub(crate) struct Below {
    shim: i32,
    child: Option<Pid>,
    /// The control group that holds it, where there is one.
    cgroup: Option<PathBuf>,
}

impl Below {
    /// The tree of a child, which leads a process group.
    pub(crate) fn new(child: Option<Pid>, cgroup: Option<PathBuf>) -> Self {
        Self { shim: rustix::process::getpid().as_raw_nonzero().get(), child, cgroup }
    }

    /// The child is not waited for before the end, so its process id, and with it the group's, cannot become another's.
    pub(crate) fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.child {
            let _ = kill_process_group(group, signal);
        }
    }

    /// A signal to the child alone.
    pub(crate) fn signal_child(&self, signal: Signal) {
        if let Some(child) = self.child {
            let _ = kill_process(child, signal);
        }
    }

    /// SIGTERM to all of it.
    pub(crate) fn terminate(&self) {
        for pid in tree::descendants(self.shim).unwrap_or_default().into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// One round of SIGKILL to all of it. How many were alive; one at least where that could not be seen, which is not the end.
    pub(crate) fn kill(&self) -> usize {
        if let Some(group) = &self.cgroup {
            cgroup::kill(group);
        }
        self.signal_group(Signal::KILL);
        tree::kill_below(self.shim).unwrap_or(1)
    }

    /// Waits for adopted descendants that ended, each by its own id.
    pub(crate) fn reap_orphans(&self) {
        let orphans = tree::children(self.shim).unwrap_or_default().into_iter().filter_map(Pid::from_raw);
        for orphan in orphans.filter(|orphan| Some(*orphan) != self.child) {
            let _ = waitid(WaitId::Pid(orphan), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }

    /// Kills until nothing of it is left.
    pub(crate) fn end(&self, signals: &mut Signals) {
        let give_up = now() + KILL_TIME;
        while self.kill() > 0 && now() < give_up {
            // Woken by SIGCHLD as they die.
            let _ = poll(&mut [PollFd::new(&signals.wake, PollFlags::IN)], Some(&timespec(ROUND)));
            signals.take();
            self.reap_orphans();
        }
        self.reap_orphans();
    }
}
