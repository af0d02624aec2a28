//! The shim's loop: waits for output, requests, signals, the end of the grace and the end of the program; then cleans up and writes down how it ended.
use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, WaitId, WaitIdOptions, waitid},
};

use super::{
    below::Below,
    cgroup,
    control::{self, Connection},
    launch::Launched,
    signals::Signals,
    time::{now, timespec},
};
use crate::instance::{Exit, ExitHow};
use crate::{
    dir::{self, EXIT, RECORD, SOCKET},
    log::{
        Stream,
        writer::{Lines, LogWriter},
    },
    record::{self, Containment, ExitRecord, Record},
    wire::Request,
};
use mesh_base::clock;

/// The grace when the shim itself gets SIGTERM (a shutdown of the machine), where nobody named one.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// Time between two rounds of SIGKILL while the program has not ended.
const KILL_AGAIN: Duration = Duration::from_millis(100);
/// How often one to which no controller is connected looks whether any can ever find it again.
const FORGOTTEN: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be taken in.
const DEAF: Duration = Duration::from_secs(1);
/// At most so much output is still read after the end: what fits into two pipes, and no more, because all writers are dead.
const DRAIN: usize = 4 << 20;

/// A stream of the program's output.
#[derive(Debug)]
struct Output {
    pipe: File,
    lines: Lines,
}

/// A shim whose program runs.
#[derive(Debug)]
pub(crate) struct Running {
    record: Record,
    below: Below,
    pidfd: OwnedFd,
    outputs: Vec<Output>,
    log: LogWriter,
    listener: UnixListener,
    connections: Vec<Connection>,
    signals: Signals,
    /// When the grace ends.
    deadline: Option<Instant>,
    /// When to look next whether any controller can find this.
    look: Instant,
    /// Until when connections wait, if one could not be taken in.
    deaf: Option<Instant>,
    buffer: Vec<u8>,
    _lock: File,
}

/// What woke the shim.
#[derive(Debug, Clone, Copy)]
enum Source {
    Ended,
    Signal,
    Listener,
    Output(usize),
    Connection(usize),
}

impl Running {
    /// Takes over what was launched.
    pub(crate) fn new(launched: Launched, signals: Signals, lock: File) -> Self {
        let Launched { record, mut child, pidfd, log, listener } = launched;
        let out = child.stdout.take().map(|pipe| Output::new(pipe.into(), Stream::Stdout));
        let err = child.stderr.take().map(|pipe| Output::new(pipe.into(), Stream::Stderr));
        let outputs = out.into_iter().chain(err).collect();
        let (connections, buffer) = (Vec::new(), vec![0; 64 * 1024]);
        let group = record.cgroup.clone().filter(|_| record.containment == Containment::Cgroup);
        let below = Below::new(record.child.and_then(|child| Pid::from_raw(child.pid)), group);
        Self {
            record,
            below,
            pidfd,
            outputs,
            log,
            listener,
            connections,
            signals,
            deadline: None,
            look: now(),
            deaf: None,
            buffer,
            _lock: lock,
        }
    }

    /// What was written down of it.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Until the program's end.
    pub(crate) fn run(mut self, controller: UnixStream) -> ExitCode {
        self.connections.extend(Connection::new(controller));
        loop {
            let woken = self.wait();
            if woken.iter().any(|source| matches!(source, Source::Ended)) {
                break;
            }
            // From the back, so that one that is removed does not move another that is still to come.
            for source in woken.into_iter().rev() {
                self.handle(source);
            }
            if self.deadline.is_some_and(|deadline| deadline <= now()) {
                self.below.kill();
                // Until the end is seen: one that was forked meanwhile is met by the next round.
                self.deadline = now().checked_add(KILL_AGAIN);
            }
            self.deaf = self.deaf.filter(|until| *until > now());
            if self.is_unattended() && self.look <= now() {
                if dir::is_gone() {
                    self.stop(DEFAULT_GRACE);
                }
                self.look = now() + FORGOTTEN;
            }
        }
        self.finish()
    }

    /// No controller is connected, and none has told it to end. Without its directory none ever will, and the program would run for ever.
    fn is_unattended(&self) -> bool {
        self.connections.is_empty() && self.record.stopping.is_none()
    }

    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Ended, Source::Signal];
        let mut fds = vec![readable(&self.pidfd), readable(&self.signals.wake)];
        if self.deaf.is_none() {
            sources.push(Source::Listener);
            fds.push(readable(&self.listener));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            sources.push(Source::Output(index));
            fds.push(readable(&output.pipe));
        }
        for (index, connection) in self.connections.iter().enumerate() {
            sources.push(Source::Connection(index));
            fds.push(readable(&connection.socket));
        }
        let next = [self.deadline, self.deaf, self.is_unattended().then_some(self.look)].into_iter().flatten().min();
        let timeout = next.map(|next| timespec(next.saturating_duration_since(now())));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(source, _)| source).collect(),
            // Interrupted by a signal: the next round sees what it left.
            Err(_) => Vec::new(),
        }
    }

    fn handle(&mut self, source: Source) {
        match source {
            Source::Ended => {}
            Source::Signal => {
                if self.signals.take() {
                    self.stop(DEFAULT_GRACE);
                }
                self.below.reap_orphans();
            }
            Source::Listener => {
                if control::accept(&self.listener, &mut self.connections).is_err() {
                    self.deaf = now().checked_add(DEAF);
                }
            }
            Source::Output(index) => self.read_output(index),
            Source::Connection(index) => self.read_connection(index),
        }
    }

    fn read_output(&mut self, index: usize) {
        let Some(output) = self.outputs.get_mut(index) else { return };
        if !output.read(&mut self.buffer, &mut self.log) {
            self.outputs.remove(index);
        }
    }

    fn read_connection(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let Some(requests) = connection.read() else {
            self.connections.remove(index);
            return;
        };
        for request in requests {
            match request {
                Request::Stop { grace_ms } => self.stop(Duration::from_millis(grace_ms)),
            }
            if let Some(connection) = self.connections.get_mut(index) {
                connection.done();
            }
        }
    }

    /// SIGTERM to the group once; the grace can only become shorter.
    fn stop(&mut self, grace: Duration) {
        let end = now().checked_add(grace);
        if self.record.stopping.is_some() {
            self.deadline = self.deadline.and_then(|deadline| end.map(|end| end.min(deadline))).or(self.deadline);
            return;
        }
        self.record.stopping = Some(clock::now());
        // Without this line in the record, a controller that comes later only does not know that it stops already.
        let _ = record::write(RECORD.as_ref(), &self.record);
        self.deadline = end;
        if !grace.is_zero() {
            self.below.signal_group(Signal::TERM);
        }
    }

    fn finish(mut self) -> ExitCode {
        let at = clock::now();
        let how = status(&self.pidfd);
        self.below.end(&mut self.signals);
        self.drain();
        let _ = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        if let Some(group) = &self.record.cgroup {
            cgroup::remove(group);
        }
        let exit = Exit { attempt: self.record.attempt, since: self.record.since, at, how };
        let exit = ExitRecord { nonce: self.record.nonce.clone(), exit, lost_lines: self.log.lost() };
        // A full disk: the exit is then reported as unknown, by whoever finds the lock free.
        let written = record::write(EXIT.as_ref(), &exit);
        let _ = record::remove(SOCKET.as_ref());
        if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn drain(&mut self) {
        for output in &mut self.outputs {
            let _ = rustix::io::ioctl_fionbio(&output.pipe, true);
            let mut rounds = DRAIN / self.buffer.len();
            while rounds > 0 && output.read(&mut self.buffer, &mut self.log) {
                rounds -= 1;
            }
            output.lines.end(&mut self.log, clock::now());
        }
    }
}

impl Output {
    fn new(pipe: OwnedFd, stream: Stream) -> Self {
        Self { pipe: pipe.into(), lines: Lines::new(stream) }
    }

    /// Reads once; false when there is nothing more to come.
    fn read(&mut self, buffer: &mut [u8], log: &mut LogWriter) -> bool {
        match self.pipe.read(buffer) {
            Ok(count) if count > 0 => self.lines.take(log, clock::now(), buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => {
                self.lines.end(log, clock::now());
                return false;
            }
        }
        true
    }
}

/// Looks at the status of what has ended and leaves it a zombie, which keeps its process id its own while the rest of its group is ended.
pub(crate) fn status(pidfd: &OwnedFd) -> ExitHow {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), options).ok().flatten();
    let code = status.as_ref().and_then(rustix::process::WaitIdStatus::exit_status).map(ExitHow::Code);
    let signal = || status.as_ref().and_then(rustix::process::WaitIdStatus::terminating_signal).map(ExitHow::Signal);
    code.or_else(signal).unwrap_or(ExitHow::Unknown)
}

fn readable(fd: &impl AsFd) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::IN)
}
