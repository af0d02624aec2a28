//! The signals that end a process. Only the top of a program owns one.
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Code;

/// SIGINT, SIGTERM and SIGHUP, from when it is made.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over; from now on they no longer kill the process.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one: the exit code that belongs to it.
    pub async fn next(&mut self) -> Code {
        tokio::select! {
            _ = self.interrupt.recv() => Code::Interrupted,
            _ = self.terminate.recv() => Code::Terminated,
            _ = self.hangup.recv() => Code::Terminated,
        }
    }
}
