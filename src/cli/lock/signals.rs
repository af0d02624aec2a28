//! The signals that others send to this program, to be passed on. What a terminal sends goes to the command as well, which is in the same process group.
use std::time::Duration;

use rustix::process::Signal;
use signal_hook::{
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

/// `timeout` sends a signal to its program and then to its program's group: within so short a time two are one.
const ONE: Duration = Duration::from_millis(250);
/// What is passed on.
const PASSED: [Signal; 6] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2];

/// Signals from others, from when it is made.
pub(super) struct Signals {
    sent: mpsc::UnboundedReceiver<i32>,
    _listener: JoinSet<()>,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut signals = SignalsInfo::<WithOrigin>::new(PASSED.map(Signal::as_raw))?;
        let (sender, sent) = mpsc::unbounded_channel();
        let mut listener = JoinSet::new();
        // It waits until the process ends.
        listener.spawn_blocking(move || {
            let others = signals.forever().filter(|origin| origin.cause != Cause::Kernel);
            let _ = others.map(|origin| sender.send(origin.signal)).find(Result::is_err);
        });
        Ok(Self { sent, _listener: listener })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> i32 {
        match self.sent.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// How often the command was asked to end.
#[derive(Debug, Default)]
pub(super) struct Asked(Option<Instant>);

impl Asked {
    /// Whether a signal that comes now asks for the second time, and is to be obeyed in any case.
    pub(super) fn again(&mut self, signal: i32, now: Instant) -> bool {
        if ![Signal::INT, Signal::TERM].map(Signal::as_raw).contains(&signal) {
            return false;
        }
        *self.0.get_or_insert(now) + ONE <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_wish_to_end_is_told_from_one_that_came_twice_and_from_other_signals() {
        let (start, [int, term, hup]) = (Instant::now(), [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw));
        let mut asked = Asked::default();
        let at = [(hup, 0), (hup, 9000), (term, 10_000), (term, 10_100), (hup, 10_500), (int, 10_300), (term, 30_000)];
        let again = at.map(|(signal, millis)| asked.again(signal, start + Duration::from_millis(millis)));
        assert_eq!(again, [false, false, false, false, false, true, true]);
    }
}
