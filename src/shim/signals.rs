//! The shim's signals: SIGTERM means "stop the program", SIGCHLD "somebody below ended"; SIGHUP and SIGINT, which a terminal sends to all, mean nothing.
use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::Signal;

/// Signals as something to poll.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Readable when a signal came.
    pub wake: UnixStream,
    terminate: Arc<AtomicBool>,
}

impl Signals {
    /// Takes over the signals of this process. Handlers, not `SIG_IGN`: that would be handed on to the program.
    pub(crate) fn install() -> io::Result<Self> {
        let (wake, sender) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let terminate = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(Signal::TERM.as_raw(), Arc::clone(&terminate))?;
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::USR1, Signal::USR2] {
            signal_hook::flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)))?;
        }
        for signal in [Signal::TERM, Signal::CHILD] {
            signal_hook::low_level::pipe::register(signal.as_raw(), sender.try_clone()?)?;
        }
        Ok(Self { wake, terminate })
    }

    /// Empties the wake-up; true if SIGTERM came since the last call.
    pub(crate) fn take(&mut self) -> bool {
        let mut sink = [0_u8; 64];
        while matches!(self.wake.read(&mut sink), Ok(count) if count > 0) {}
        self.terminate.swap(false, Ordering::Relaxed)
    }
}
