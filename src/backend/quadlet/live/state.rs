//! What systemd says of a unit, and what that means for the instance. Pure.
use std::{collections::HashMap, fmt::Write};

use jiff::Timestamp;
use zbus::OwnedVariant;

use super::record::Record;
use mesh_plan::instance::{Exit, ExitHow};

/// The properties of a unit that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct UnitState {
    /// `loaded`, `not-found`, `bad-setting`, `error`, `masked`.
    pub(super) load: String,
    /// `active`, `activating`, `inactive`, …
    pub(super) active: String,
    /// `running`, `auto-restart`, …
    pub(super) sub: String,
    /// The file that Quadlet made the unit from.
    pub(super) source: String,
    /// conmon, once it runs.
    pub(super) main_pid: u32,
    /// How the main process ended: `CLD_EXITED` and so on.
    pub(super) exit_code: i32,
    /// Its exit code, or the signal.
    pub(super) exit_status: i32,
    /// When the main process was started.
    pub(super) started: Option<Timestamp>,
    /// When it ended.
    pub(super) exited: Option<Timestamp>,
    /// When the unit came to rest.
    pub(super) rested: Option<Timestamp>,
    /// How often systemd has started it again by itself since somebody started it.
    pub(super) restarts: u32,
    /// The CPU time of everything in it, in nanoseconds.
    pub(super) cpu: Option<u64>,
    /// The memory of everything in it, in bytes.
    pub(super) memory: Option<u64>,
    /// Which start of it; empty if it was never started since the machine was.
    pub(super) invocation: String,
}

/// What a unit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was not started since systemd knows it.
    Idle,
    /// On its way up.
    Starting,
    /// Up.
    Running,
    /// On its way down.
    Stopping,
    /// It ran, and came to rest; it may be waiting to be started again.
    Ended,
}

/// `CLD_EXITED` of wait(2).
const EXITED: i32 = 1;

impl UnitState {
    /// From the properties of all its interfaces.
    pub(super) fn of(properties: &HashMap<String, OwnedVariant>) -> Self {
        let text = |name: &str| properties.get(name).and_then(|value| <&str>::try_from(value).ok()).unwrap_or_default().to_owned();
        let number = |name: &str| properties.get(name).and_then(|value| u32::try_from(value).ok()).unwrap_or_default();
        let signed = |name: &str| properties.get(name).and_then(|value| i32::try_from(value).ok()).unwrap_or_default();
        // The largest number stands for none.
        let counted = |name: &str| properties.get(name).and_then(|value| u64::try_from(value).ok()).filter(|count| *count != u64::MAX);
        let time = |name: &str| properties.get(name).and_then(|value| u64::try_from(value).ok()).and_then(timestamp);
        let invocation = properties.get("InvocationID").and_then(|value| Vec::<u8>::try_from(value.try_clone().ok()?).ok());
        Self {
            load: text("LoadState"),
            active: text("ActiveState"),
            sub: text("SubState"),
            source: text("SourcePath"),
            main_pid: number("MainPID"),
            exit_code: signed("ExecMainCode"),
            exit_status: signed("ExecMainStatus"),
            started: time("ExecMainStartTimestamp"),
            exited: time("ExecMainExitTimestamp"),
            rested: time("InactiveEnterTimestamp"),
            restarts: number("NRestarts"),
            cpu: counted("CPUUsageNSec"),
            memory: counted("MemoryCurrent"),
            invocation: hex(&invocation.unwrap_or_default()),
        }
    }

    /// What it is doing.
    pub(super) fn phase(&self) -> Phase {
        match (self.active.as_str(), self.sub.as_str()) {
            ("active" | "reloading" | "refreshing", _) => Phase::Running,
            ("activating", "auto-restart" | "auto-restart-queued") => Phase::Ended,
            ("activating", _) => Phase::Starting,
            ("deactivating", _) => Phase::Stopping,
            _ if self.invocation.is_empty() => Phase::Idle,
            _ => Phase::Ended,
        }
    }

    /// It waits to be started again by systemd.
    pub(super) fn waits(&self) -> bool {
        self.sub.starts_with("auto-restart")
    }

    /// How its main process ended. That is conmon, which ends with the program's code; if a signal ended conmon, nobody knows that code.
    fn how(&self) -> ExitHow {
        if self.exit_code == EXITED { ExitHow::Code(self.exit_status) } else { ExitHow::Unknown }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn timestamp(microseconds: u64) -> Option<Timestamp> {
    if microseconds == 0 {
        return None;
    }
    Timestamp::from_microsecond(i64::try_from(microseconds).ok()?).ok()
}

/// What is known of the instance's runs after a look: systemd may have started it again by itself, or somebody else may have, or the machine.
pub(super) fn seen(record: &Record, state: &UnitState, boot_id: &str, now: Timestamp) -> Record {
    let mut new = record.clone();
    let same_boot = record.boot == boot_id;
    let known = record.run.as_deref() == Some(state.invocation.as_str());
    let before = same_boot && record.before.as_deref() == Some(state.invocation.as_str());
    let untouched = state.invocation.is_empty() || known || (record.run.is_none() && before);
    if !untouched {
        if record.run.is_some() {
            let since = if same_boot { state.restarts.saturating_sub(record.restarts) } else { state.restarts.saturating_add(1) };
            new.attempt = record.attempt.saturating_add(since.max(1));
        }
        new.run = Some(state.invocation.clone());
        (new.boot, new.restarts, new.since, new.ended) = (boot_id.to_owned(), state.restarts, state.started, None);
    }
    if new.run.as_deref() == Some(state.invocation.as_str()) {
        new.since = state.started.or(new.since);
    }
    let rests = matches!(state.phase(), Phase::Idle | Phase::Ended);
    if rests && new.run.is_some() && new.ended.is_none() {
        new.ended = Some(exit(&new, state, now));
    }
    new
}

/// The end of the record's run. systemd forgets a unit that rests, and with it how it ended.
fn exit(record: &Record, state: &UnitState, now: Timestamp) -> Exit {
    let is_its = record.run.as_deref() == Some(state.invocation.as_str());
    let at = state.exited.or(state.rested).filter(|_| is_its).unwrap_or(now);
    let since = record.since.unwrap_or(at).min(at);
    Exit { attempt: record.attempt, since, at, how: if is_its { state.how() } else { ExitHow::Unknown } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_plan::instance::InstanceKey;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn record() -> Record {
        let key = InstanceKey { namespace: "shop".into(), name: "api-r-0".into(), uid: "u".into() };
        Record { attempt: 3, boot: "boot".into(), ..Record::new(key, "mesh-shop.api-r", 0, "mesh-shop-api-r-0", at(0)) }
    }

    fn state(active: &str, sub: &str, invocation: &str) -> UnitState {
        UnitState {
            load: "loaded".into(),
            active: active.into(),
            sub: sub.into(),
            invocation: invocation.into(),
            started: Some(at(10)),
            ..UnitState::default()
        }
    }

    #[test]
    fn a_units_states_are_phases() {
        for (active, sub, invocation, expected) in [
            ("active", "running", "a", Phase::Running),
            ("activating", "start", "a", Phase::Starting),
            ("activating", "auto-restart", "a", Phase::Ended),
            ("activating", "auto-restart-queued", "a", Phase::Ended),
            ("deactivating", "stop-sigterm", "a", Phase::Stopping),
            ("inactive", "dead", "a", Phase::Ended),
            ("failed", "failed", "a", Phase::Ended),
            ("inactive", "dead", "", Phase::Idle),
        ] {
            assert_eq!(state(active, sub, invocation).phase(), expected, "{active} {sub} {invocation}");
        }
    }

    #[test]
    fn a_start_that_came_about_is_this_attempt_however_it_is_found() {
        for before in [None, Some("old".to_owned())] {
            let started = Record { before, ..record() };
            let new = seen(&started, &state("active", "running", "new"), "boot", at(20));
            assert_eq!((new.attempt, new.run.as_deref(), new.since), (3, Some("new"), Some(at(10))));
        }
    }

    #[test]
    fn a_start_that_was_cut_off_before_systemd_was_asked_is_none() {
        let started = Record { before: Some("old".into()), ..record() };
        for look in [state("inactive", "dead", "old"), state("inactive", "dead", "")] {
            let new = seen(&started, &look, "boot", at(20));
            assert_eq!((new.run, new.ended), (None, None));
        }
    }

    #[test]
    fn every_start_that_systemd_made_by_itself_counts() {
        let ran = Record { run: Some("a".into()), restarts: 1, ..record() };
        let look = |restarts, invocation: &str| UnitState { restarts, ..state("active", "running", invocation) };
        for (look, boot, expected) in [
            (look(1, "a"), "boot", 3),
            (look(2, "b"), "boot", 4),
            (look(5, "b"), "boot", 7),
            // Started by hand: systemd counts from 0 again.
            (look(0, "b"), "boot", 4),
            // By the machine.
            (look(0, "b"), "another", 4),
            (look(2, "b"), "another", 6),
        ] {
            let new = seen(&ran, &look, boot, at(20));
            assert_eq!((new.attempt, new.boot.as_str()), (expected, boot), "{look:?}");
            assert_eq!(seen(&new, &look, boot, at(30)), new, "a second look changes nothing");
        }
    }

    #[test]
    fn an_end_is_told_once_and_for_all() {
        let ran = Record { run: Some("a".into()), since: Some(at(5)), ..record() };
        let failed = UnitState { exit_code: 1, exit_status: 7, exited: Some(at(12)), ..state("activating", "auto-restart", "a") };
        let new = seen(&ran, &failed, "boot", at(20));
        assert_eq!(new.ended, Some(Exit { attempt: 3, since: at(10), at: at(12), how: ExitHow::Code(7) }));
        // systemd forgets it; the record does not.
        assert_eq!(seen(&new, &state("inactive", "dead", ""), "boot", at(50)).ended, new.ended);
        // conmon was killed.
        let killed = UnitState { exit_code: 2, exit_status: 9, ..failed };
        assert_eq!(seen(&ran, &killed, "boot", at(20)).ended.map(|exit| exit.how), Some(ExitHow::Unknown));
        // After a boot nothing is known of the run before it.
        let gone = seen(&ran, &UnitState::default(), "another", at(60));
        assert_eq!(gone.ended, Some(Exit { attempt: 3, since: at(5), at: at(60), how: ExitHow::Unknown }));
    }
}
