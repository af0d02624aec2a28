//! A task that systemd runs without a controller: a service that ends by itself, and the timer that starts it. What systemd means by a key and a
//! `MeshTask` does not stands as a comment before the key.
use std::time::Duration;

use super::{Error, Host, Instance, Writer};
use crate::quadlet::{
    keys::{service as setting, timer as key, unit as about},
    templates,
    unit::Unit,
    version::Systemd,
};
use mesh_api::container::ImagePullPolicy;

/// How often a run is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// So often again after the first try.
    pub backoff_limit: u32,
    /// How long one may take.
    pub deadline: Option<Duration>,
    /// The time in which systemd counts tries.
    pub window: Duration,
}

/// When a timer starts its service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The times.
    pub times: Times,
    /// Whether the latest time that the machine missed is made up for.
    pub persistent: bool,
    /// A run starts up to so much later.
    pub jitter: Option<Duration>,
}

/// The times of a timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Times {
    /// Calendar events in the form of systemd.time(7).
    Calendar(Vec<String>),
    /// So long after the timer was started, and again after each start of the service.
    Every(Duration),
}

/// The unit of a task, for Quadlet.
///
/// # Errors
/// A field that cannot be carried to the container as it is.
pub fn task(instance: &Instance<'_>, tries: &Tries, host: &Host) -> Result<Unit, Error> {
    let mut unit = Writer { unit: templates::job(), host };
    unit.about(instance)?;
    unit.tries(instance, tries)?;
    // Podman stays in the foreground: what it prints is in the journal already.
    unit.container(instance, "passthrough")?;
    Ok(unit.unit)
}

/// The timer of a task. It starts the service of the same name.
///
/// # Errors
/// A time that cannot be written.
pub fn timer(instance: &Instance<'_>, timer: &Timer, host: &Host) -> Result<Unit, Error> {
    let mut unit = templates::timer();
    unit.set(about::DESCRIPTION, "metadata.name", format!("mesh: when {}/{} runs", instance.namespace, instance.service))?;
    match &timer.times {
        Times::Calendar(events) => {
            for event in events {
                unit.add(key::ON_CALENDAR, "spec.schedule", event.as_str())?;
            }
            unit.add(key::PERSISTENT, "spec.startingDeadlineSeconds", timer.persistent)?;
        }
        Times::Every(interval) => {
            let interval = format!("{}s", interval.as_secs());
            unit.add(key::ON_ACTIVE_SEC, "spec.schedule", interval.as_str())?;
            unit.comment("Counted from the start of the timer and of each run, not from the task's creation; what the machine misses is not made up for.");
            unit.add(key::ON_UNIT_ACTIVE_SEC, "spec.schedule", interval)?;
        }
    }
    if let Some(jitter) = timer.jitter {
        unit.add(key::RANDOMIZED_DELAY_SEC, "spec.jitter", format!("{}s", jitter.as_secs_f64()))?;
        if host.systemd >= Some(Systemd::FIXED_RANDOM_DELAY) {
            unit.add(key::FIXED_RANDOM_DELAY, "spec.jitter", true)?;
        }
    }
    Ok(unit)
}

impl Writer<'_> {
    /// Again after 10 s, then, where systemd can, ever longer up to 6 minutes.
    pub(super) fn tries(&mut self, instance: &Instance<'_>, tries: &Tries) -> Result<(), Error> {
        let Tries { backoff_limit, deadline, window } = *tries;
        let (again, limit) = ("spec.backoffLimit", "spec.activeDeadlineSeconds");
        if backoff_limit == 0 {
            self.unit.add(about::START_LIMIT_INTERVAL_SEC, again, "0")?;
            self.unit.add(setting::RESTART, again, "no")?;
        } else {
            self.unit.add(about::START_LIMIT_INTERVAL_SEC, again, format!("{}s", window.as_secs()))?;
            self.unit.comment(
                "systemd counts all starts in this time, also those that somebody asks for; `systemctl reset-failed` begins anew.",
            );
            self.unit.add(about::START_LIMIT_BURST, again, backoff_limit.saturating_add(1).to_string())?;
            self.unit.add(setting::RESTART, again, "on-failure")?;
            self.unit.add(setting::RESTART_SEC, again, "10s")?;
            if self.host.systemd >= Some(Systemd::RESTART_STEPS) {
                self.unit.add(setting::RESTART_STEPS, again, "5")?;
                self.unit.add(setting::RESTART_MAX_DELAY_SEC, again, "6min")?;
            }
        }
        let pulls = !self.host.image_units && instance.container.pull != ImagePullPolicy::Never;
        match deadline {
            Some(deadline) => {
                self.unit.add(setting::TIMEOUT_START_SEC, limit, format!("{}s", deadline.as_secs()))?;
                self.unit.comment(if pulls {
                    "Of each try, with the pull of its image (with --image-units without it)."
                } else {
                    "Of each try."
                });
            }
            None => self.unit.add(setting::TIMEOUT_START_SEC, limit, "infinity")?,
        }
        Ok(())
    }
}
