//! What an engine without root needs. Root needs none of it.
use super::needed_by;
use crate::doctor::{Purpose, facts::Facts, finding::Finding};

const CONTAINERS: [Purpose; 2] = [Purpose::Podman, Purpose::Quadlet];
/// As many ids as an image may use.
const ENOUGH: u64 = 65_536;

/// Users inside containers are subordinate ids outside.
pub(super) fn sub_ids(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "subordinate ids";
    let level = needed_by(facts, &CONTAINERS).filter(|_| !facts.user.is_root())?;
    let name = &facts.user.name;
    let (users, groups) = facts.sub_ids.counts;
    if users >= ENOUGH && groups >= ENOUGH {
        return Some(Finding::ok(CHECK, format!("{users} user ids and {groups} group ids")));
    }
    Some(Finding::of(
        level,
        CHECK,
        format!("{name} has {users} in /etc/subuid and {groups} in /etc/subgid; images need {ENOUGH}"),
        format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name} && podman system migrate"),
    ))
}

/// The program that gives them to a container.
pub(super) fn newuidmap(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "newuidmap";
    let level = needed_by(facts, &CONTAINERS).filter(|_| !facts.user.is_root())?;
    Some(if facts.sub_ids.newuidmap {
        Finding::ok(CHECK, "it is there")
    } else {
        Finding::of(level, CHECK, "it is missing, so containers have one user only", "sudo apt-get install uidmap")
    })
}

/// Without it systemd ends all that a user runs at the logout.
pub(super) fn lingering(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "lingering";
    let systemd = &facts.systemd;
    if facts.user.is_root() || !systemd.booted {
        return None;
    }
    let name = &facts.user.name;
    Some(if systemd.lingering {
        Finding::ok(CHECK, format!("it is on: what {name} runs starts at boot and outlives the logout"))
    } else {
        let text = format!("it is off: units and containers of {name} end at the logout and do not start at boot");
        Finding::warning(CHECK, text, format!("sudo loginctl enable-linger {name}"))
    })
}
