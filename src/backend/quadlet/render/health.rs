//! An exec probe as Podman's own health check, so that systemd takes a unit for started when it passes (`Notify=healthy`).
use super::{Error, Writer};
use crate::quadlet::{keys::container as key, version::Podman};
use mesh_api::{instance::InstanceTemplate, probe::Probe};

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    command: Vec<String>,
    period: i32,
    timeout: i32,
    retries: i32,
    delay: i32,
}

/// The first version whose key Notify takes `healthy`.
const NOTIFY_HEALTHY: Podman = Podman::new(5, 0);

/// The health check of a template: its exec startup probe, or its exec readiness probe. Podman has no other kind.
pub fn health(template: &InstanceTemplate) -> Option<Health> {
    let probes = [&template.startup_probe, &template.readiness_probe];
    probes.into_iter().flatten().find_map(of)
}

fn of(probe: &Probe) -> Option<Health> {
    let command = probe.exec.as_ref()?.command.clone();
    // Podman takes one word for a line of a shell, and these for its own.
    let first = command.first()?;
    if command.len() < 2 || ["CMD", "CMD-SHELL", "NONE"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return None;
    }
    Some(Health {
        command,
        period: probe.period_seconds,
        timeout: probe.timeout_seconds,
        retries: probe.failure_threshold,
        delay: probe.initial_delay_seconds,
    })
}

impl Writer<'_> {
    pub(super) fn health(&mut self, health: &Health) -> Result<(), Error> {
        if self.host.podman < NOTIFY_HEALTHY {
            return Ok(());
        }
        let of = "spec.readinessProbe.exec";
        let json = serde_json::to_string(&health.command).unwrap_or_default();
        let unit = &mut self.unit;
        unit.add(key::HEALTH_CMD, of, json)?;
        unit.add(key::HEALTH_INTERVAL, of, format!("{}s", health.period))?;
        unit.add(key::HEALTH_TIMEOUT, of, format!("{}s", health.timeout))?;
        unit.add(key::HEALTH_RETRIES, of, health.retries.to_string())?;
        unit.add(key::HEALTH_START_PERIOD, of, format!("{}s", health.delay))?;
        unit.add(key::NOTIFY, of, "healthy")?;
        Ok(())
    }
}
