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
    let mut findings: Vec<Finding> = [
        engine::engine(facts),
        engine::leftovers(facts),
        engine::unowned(facts),
        rootless::sub_ids(facts),
        rootless::newuidmap(facts),
        host::cgroups(facts),
        Some(host::systemd(facts)),
        rootless::lingering(facts),
        engine::generator(facts),
        host::selinux(facts),
        Some(host::state_dir(facts)),
        host::shim(facts),
        Some(host::kubectl(facts)),
        Some(ports::range(facts)),
    ]
    .into_iter()
    .flatten()
    .collect();
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
