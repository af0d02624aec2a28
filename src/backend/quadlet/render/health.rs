//! Probes as Podman's health check, as far as it can say them: a command in the container that runs again and again, and one before it that
//! runs until it has passed once. What it cannot say is named in [`Health::notes`]; nothing is dropped without a word.
//!
//! | probe | becomes |
//! |---|---|
//! | liveness | the health check, with `kill` as what follows a failure: systemd starts the container again |
//! | readiness | the health check, or, beside a liveness probe, the startup check: the unit counts as started once it has passed |
//! | startup | the startup check, or, alone, the health check; how long it may take is systemd's `TimeoutStartSec=` |
//!
//! Podman's own way to end a startup (`HealthStartupRetries=`) is not used: it restarts the container from a timer, outside of its unit.
use super::{Error, Writer};
use crate::quadlet::{
    keys::{Key, container as key, service as setting},
    version::Podman,
};
use mesh_api::{instance::InstanceTemplate, probe::Probe};

/// What Podman and systemd are told of the probes of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The check that goes on.
    regular: Option<Check>,
    /// The check that runs until it has passed.
    startup: Option<Check>,
    /// A program whose check fails is killed.
    kills: bool,
    /// The unit counts as started only when its checks have passed.
    starts: bool,
    /// The seconds that a startup probe gives a program.
    start_limit: Option<u64>,
    /// What cannot be said to this Podman, by field, for people.
    pub notes: Vec<String>,
}

/// A command that is run again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    field: &'static str,
    command: Vec<String>,
    period: i32,
    timeout: i32,
    delay: i32,
    successes: i32,
    failures: i32,
}

/// The first version whose key Notify takes `healthy`.
const NOTIFY_HEALTHY: Podman = Podman::new(5, 0);

/// The longest that an image may take to be pulled within a start; the template's `TimeoutStartSec=`.
const PULL_SECONDS: u64 = 15 * 60;

const STARTUP: &str = "spec.startupProbe";
const READINESS: &str = "spec.readinessProbe";
const LIVENESS: &str = "spec.livenessProbe";

/// What becomes of the probes of a template.
pub fn health(template: &InstanceTemplate, podman: Podman) -> Health {
    let mut health = Health::default();
    let startup = health.check(STARTUP, template.startup_probe.as_ref());
    let readiness = health.check(READINESS, template.readiness_probe.as_ref());
    let liveness = health.check(LIVENESS, template.liveness_probe.as_ref());
    health.place(startup, readiness, liveness, podman);
    health.say_what_is_lost(podman);
    health
}

impl Health {
    /// The probe as a check; a note if Podman has none such.
    fn check(&mut self, field: &'static str, probe: Option<&Probe>) -> Option<Check> {
        let probe = probe?;
        match command(probe) {
            Ok(command) => Some(Check {
                field,
                command,
                period: probe.period_seconds,
                timeout: probe.timeout_seconds,
                delay: probe.initial_delay_seconds,
                successes: probe.success_threshold,
                failures: probe.failure_threshold,
            }),
            Err(why) => {
                let lost = match field {
                    LIVENESS => "a program that hangs is not started again",
                    READINESS => "the unit counts as started, and gets requests, as soon as its program runs",
                    _ => "nothing waits for the program's start",
                };
                self.notes.push(format!("{field}.{why}; without a controller {lost}"));
                None
            }
        }
    }

    /// Gives the two places that Podman has to the three probes.
    fn place(&mut self, startup: Option<Check>, readiness: Option<Check>, liveness: Option<Check>, podman: Podman) {
        self.starts = startup.is_some() || readiness.is_some();
        self.kills = liveness.is_some();
        self.start_limit = startup.as_ref().map(Check::limit);
        let (regular, gates) = match (liveness, readiness) {
            (Some(liveness), Some(readiness)) if readiness.command == liveness.command => {
                if !readiness.same_times(&liveness) {
                    self.note(
                        READINESS,
                        "asks what livenessProbe asks, and Podman has one health check: livenessProbe's times hold for both",
                    );
                }
                (Some(liveness), None)
            }
            (Some(liveness), readiness) => (Some(liveness), readiness),
            (None, readiness) => (readiness, None),
        };
        let Some(regular) = regular else {
            self.regular = startup;
            return;
        };
        self.regular = Some(regular);
        self.startup = match (startup, gates) {
            (Some(startup), Some(_)) => {
                self.note(
                    READINESS,
                    "is not carried over: Podman has one health check (livenessProbe's) and one startup check (startupProbe's)",
                );
                Some(startup)
            }
            (None, Some(gates)) => {
                self.note(
                    READINESS,
                    "becomes the startup check beside livenessProbe: it is asked until it has passed once, and then no more",
                );
                Some(gates)
            }
            (startup, None) => startup,
        };
        if let Some(startup) = self.startup.as_ref().filter(|_| podman < key::HEALTH_STARTUP_CMD.since()) {
            let field = startup.field;
            self.note(
                field,
                &format!(
                    "is not carried over: a startup check beside a health check needs Podman {}; this is {podman}",
                    key::HEALTH_STARTUP_CMD.since()
                ),
            );
            self.startup = None;
            self.starts = self.starts && self.regular.as_ref().is_some_and(|regular| regular.field != LIVENESS);
        }
    }

    fn say_what_is_lost(&mut self, podman: Podman) {
        if self.regular.as_ref().is_some_and(|check| check.field == READINESS && check.successes > 1) {
            self.note(READINESS, "passes at its first success: Podman has no successThreshold for a health check");
        }
        if self.starts && podman < NOTIFY_HEALTHY {
            let fields: Vec<&str> =
                [&self.startup, &self.regular].into_iter().flatten().map(|check| check.field).filter(|field| *field != LIVENESS).collect();
            let text = format!(
                "is asked, but the unit counts as started before it passes: Notify=healthy needs Podman {NOTIFY_HEALTHY}; this is {podman}"
            );
            for field in fields {
                self.note(field, &text);
            }
            self.starts = false;
        }
        if !self.starts {
            self.start_limit = None;
        }
    }

    fn note(&mut self, field: &str, text: &str) {
        self.notes.push(format!("{field} {text}"));
    }

    /// The flags of `podman run`, for where there are no keys.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let Some(regular) = &self.regular else { return Vec::new() };
        let mut flags = vec![
            ("health-cmd", regular.json()),
            ("health-interval", seconds(regular.period)),
            ("health-timeout", seconds(regular.timeout)),
            ("health-retries", regular.failures.to_string()),
            ("health-start-period", seconds(regular.delay)),
        ];
        if self.kills {
            flags.push(("health-on-failure", "kill".to_owned()));
        }
        if let Some(startup) = &self.startup {
            flags.push(("health-startup-cmd", startup.json()));
            flags.push(("health-startup-interval", seconds(startup.period)));
            flags.push(("health-startup-timeout", seconds(startup.timeout)));
            flags.push(("health-startup-success", startup.successes.to_string()));
        }
        flags
    }
}

/// The key of a flag of [`Health::flags`].
fn key_of(flag: &str) -> Option<Key> {
    Some(match flag {
        "health-cmd" => key::HEALTH_CMD,
        "health-interval" => key::HEALTH_INTERVAL,
        "health-timeout" => key::HEALTH_TIMEOUT,
        "health-retries" => key::HEALTH_RETRIES,
        "health-start-period" => key::HEALTH_START_PERIOD,
        "health-on-failure" => key::HEALTH_ON_FAILURE,
        "health-startup-cmd" => key::HEALTH_STARTUP_CMD,
        "health-startup-interval" => key::HEALTH_STARTUP_INTERVAL,
        "health-startup-timeout" => key::HEALTH_STARTUP_TIMEOUT,
        "health-startup-success" => key::HEALTH_STARTUP_SUCCESS,
        _ => return None,
    })
}

impl Check {
    /// As an array, Podman takes the words as they are.
    fn json(&self) -> String {
        serde_json::to_string(&self.command).unwrap_or_default()
    }

    /// The most that it gives a program to start, in seconds.
    fn limit(&self) -> u64 {
        let [delay, period, timeout, failures] =
            [self.delay, self.period, self.timeout, self.failures].map(|n| u64::try_from(n).unwrap_or(0));
        delay.saturating_add(period.max(timeout).saturating_mul(failures))
    }

    fn same_times(&self, other: &Self) -> bool {
        (self.period, self.timeout, self.delay, self.failures) == (other.period, other.timeout, other.delay, other.failures)
    }
}

fn seconds(count: i32) -> String {
    format!("{count}s")
}

/// The command of a probe that Podman can run as it is; else what stands in the way, from the name of the field on.
fn command(probe: &Probe) -> Result<Vec<String>, &'static str> {
    if probe.http_get.is_some() {
        return Err(
            "httpGet is not carried over: Podman's health check is a command in the container; use exec with one that asks, such as [wget, -qO, /dev/null, \"http://127.0.0.1:PORT/PATH\"], if the image has it",
        );
    }
    let Some(exec) = &probe.exec else {
        return Err(
            "tcpSocket is not carried over: Podman's health check is a command in the container; use exec with one that asks, such as [nc, -z, 127.0.0.1, PORT], if the image has it",
        );
    };
    // Podman takes one word for a line of a shell, and these for its own.
    match exec.command.first() {
        Some(_) if exec.command.len() < 2 => {
            Err("exec is not carried over: Podman takes a single word for a line of the container's shell; give the program an argument")
        }
        Some(first) if ["CMD", "CMD-SHELL", "NONE"].iter().any(|word| first.eq_ignore_ascii_case(word)) => {
            Err("exec is not carried over: Podman takes its first word for one of its own; give the program's path")
        }
        Some(_) => Ok(exec.command.clone()),
        None => Err("exec names no program"),
    }
}

impl Writer<'_> {
    /// The keys of the checks, or arguments where the version does not know them.
    pub(super) fn health(&mut self, health: &Health) -> Result<(), Error> {
        for (flag, value) in health.flags() {
            let field = if flag.starts_with("health-startup") { &health.startup } else { &health.regular };
            let field = field.as_ref().map_or("the probes", |check| check.field);
            match key_of(flag) {
                Some(key) => self.text(key, field, flag, &value)?,
                None => self.argument(field, flag, &value)?,
            }
        }
        if health.starts {
            self.unit.add(key::NOTIFY, "the probes", "healthy")?;
        }
        if let Some(limit) = health.start_limit {
            let limit = limit.saturating_add(PULL_SECONDS);
            self.unit.set(setting::TIMEOUT_START_SEC, STARTUP, format!("{limit}s"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
