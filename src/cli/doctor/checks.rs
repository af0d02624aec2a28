//! From facts to findings: one function per item. Pure.
mod engine;
mod host;
mod ports;
mod rootless;

#[cfg(test)]
mod tests;

use super::{
    Purpose,
    facts::Facts,
    finding::{Finding, Level},
};

/// All findings, in the order in which they are best mended.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Facts) -> Option<Finding>; 12] = [
        engine::engine,
        rootless::sub_ids,
        rootless::newuidmap,
        host::cgroups,
        host::systemd,
        rootless::lingering,
        engine::generator,
        host::selinux,
        host::state_dir,
        host::shim,
        ports::range,
        host::kubectl,
    ];
    let mut findings: Vec<Finding> = checks.iter().filter_map(|check| check(facts)).collect();
    findings.extend(facts.ports.iter().map(ports::port));
    findings
}

/// How bad it is that something is missing which these backends need; none if the backend that is wanted does not need it.
fn needed_by(facts: &Facts, backends: &[Purpose]) -> Option<Level> {
    match facts.purpose {
        None => Some(Level::Warning),
        Some(purpose) => backends.contains(&purpose).then_some(Level::Error),
    }
}

/// Before a command that only root may give.
fn as_root(facts: &Facts, command: &str) -> String {
    if facts.user.is_root() { command.to_owned() } else { format!("sudo {command}") }
}
