//! The signals that end a process. Only the top of a program owns one.
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Code;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To end, with that exit code.
    End(Code),
    /// To read the configuration again, or to end where there is none: the terminal has gone.
    Hangup,
}

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
        match self.asked().await {
            Asked::End(code) => code,
            Asked::Hangup => Code::Terminated,
        }
    }

    /// Waits for the next one, for those who have something to do at a hangup.
    pub async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End(Code::Interrupted),
            _ = self.terminate.recv() => Asked::End(Code::Terminated),
            _ = self.hangup.recv() => Asked::Hangup,
        }
    }
}
