//! The machine: control groups, systemd, SELinux, the state directory, and the programs beside this one.
use super::{as_root, needed_by};
use crate::doctor::{
    Purpose,
    facts::{Facts, Selinux, StateDirState},
    finding::Finding,
};

const CONTAINERS: [Purpose; 2] = [Purpose::Podman, Purpose::Quadlet];

/// Limits need control groups of version 2, and a user whom systemd lets have them.
pub(super) fn cgroups(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "cgroups";
    needed_by(facts, &CONTAINERS)?;
    match facts.cgroups.version {
        Some(2) => {}
        Some(version) => {
            let text = format!("version {version}: Quadlet and engines without root need version 2");
            let fix = as_root(
                facts,
                "grubby --update-kernel=ALL --args=systemd.unified_cgroup_hierarchy=1   (or that in GRUB_CMDLINE_LINUX; then restart)",
            );
            let level = needed_by(facts, &[Purpose::Quadlet]).unwrap_or(super::Level::Warning);
            return Some(Finding::of(level, CHECK, text, fix));
        }
        None => return Some(Finding::warning(CHECK, "none are mounted: limits of containers have no effect", "mount | grep cgroup")),
    }
    let Some(delegated) = &facts.cgroups.delegated else { return Some(Finding::ok(CHECK, "version 2")) };
    let missing: Vec<&str> = ["cpu", "memory", "pids"].into_iter().filter(|name| !delegated.iter().any(|has| has == name)).collect();
    if missing.is_empty() {
        return Some(Finding::ok(CHECK, format!("version 2; {} may limit {}", facts.user.name, delegated.join(", "))));
    }
    Some(Finding::warning(
        CHECK,
        format!("version 2, but {} may not limit {}: resources.limits of those have no effect", facts.user.name, missing.join(", ")),
        "sudo sh -c 'mkdir -p /etc/systemd/system/user@.service.d && printf \"[Service]\\nDelegate=cpu cpuset io memory pids\\n\" > \
         /etc/systemd/system/user@.service.d/delegate.conf && systemctl daemon-reload'   (then log in again)",
    ))
}

/// Quadlet is systemd's; the others need it only to start at boot.
pub(super) fn systemd(facts: &Facts) -> Finding {
    const CHECK: &str = "systemd";
    let needs = needed_by(facts, &[Purpose::Quadlet]).unwrap_or(super::Level::Warning);
    if !facts.systemd.booted {
        let text = "it does not run here: no Quadlet, and `mesh-controller install` cannot be used";
        return Finding::of(needs, CHECK, text, "start mesh-controller by what starts services here, with --backend process or podman");
    }
    if facts.user.is_root() || facts.systemd.user_manager {
        return Finding::ok(CHECK, if facts.user.is_root() { "it runs" } else { "it runs, also for this user" });
    }
    let text = format!("it runs, but not for {}: no `mesh-controller install --user`", facts.user.name);
    Finding::of(needs, CHECK, text, format!("sudo loginctl enable-linger {}", facts.user.name))
}

/// Where SELinux confines containers, folders of the host must be labelled.
pub(super) fn selinux(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "selinux";
    needed_by(facts, &CONTAINERS)?;
    Some(Finding::ok(
        CHECK,
        match facts.selinux {
            Selinux::Absent => "it is off",
            Selinux::Permissive => "it only warns",
            Selinux::Enforcing => {
                "it confines containers: label folders of the host that they use as volumes, sudo chcon -Rt container_file_t FOLDER"
            }
        },
    ))
}

/// The state directory holds keys: it is for its owner alone.
pub(super) fn state_dir(facts: &Facts) -> Finding {
    const CHECK: &str = "state directory";
    let path = facts.state_dir.path.display();
    match &facts.state_dir.state {
        StateDirState::Missing { can_be_made: true } => Finding::ok(CHECK, format!("{path} will be made")),
        StateDirState::Missing { can_be_made: false } => Finding::error(
            CHECK,
            format!("{path} cannot be made by {}", facts.user.name),
            format!("sudo install -d -m 700 -o {} '{path}', or --state-dir DIR", facts.user.name),
        ),
        StateDirState::Unreadable(why) => Finding::error(CHECK, format!("{path}: {why}"), format!("ls -ld '{path}', or --state-dir DIR")),
        StateDirState::Unusable(why) => {
            Finding::error(CHECK, why, format!("a backup of {path}, or mv '{path}/store.redb' '{path}/store.redb.old', or --state-dir DIR"))
        }
        StateDirState::There { owner, .. } if *owner != facts.user.uid => Finding::error(
            CHECK,
            format!("{path} belongs to the user with the number {owner}, not to {}", facts.user.name),
            format!("sudo chown -R {} '{path}', or --state-dir DIR", facts.user.name),
        ),
        StateDirState::There { mode, .. } if mode & 0o077 != 0 => {
            Finding::warning(CHECK, format!("{path} can be read by others ({mode:o}): it holds keys"), format!("chmod 700 '{path}'"))
        }
        StateDirState::There { .. } => Finding::ok(CHECK, path.to_string()),
    }
}

/// The program that holds processes.
pub(super) fn shim(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "mesh-shim";
    let (path, there) = &facts.shim;
    let path = path.display();
    if *there {
        return Some(Finding::ok(CHECK, path.to_string()));
    }
    let level = needed_by(facts, &[Purpose::Process])?;
    Some(Finding::of(
        level,
        CHECK,
        format!("{path} is missing: it holds instances that are plain processes"),
        format!("cp …/mesh-shim '{path}'"),
    ))
}

/// Nothing needs it, most people want it.
pub(super) fn kubectl(facts: &Facts) -> Finding {
    const CHECK: &str = "kubectl";
    facts.kubectl.as_ref().map_or_else(
        || Finding::ok(CHECK, "it is not installed; mesh apply, ps, logs and delete do without it"),
        |path| Finding::ok(CHECK, path.display().to_string()),
    )
}
