//! The two units, and their texts. Pure.
use std::{net::SocketAddr, path::Path};

use crate::{
    backend::BackendFlag,
    exit::{Code, Failure, Result},
};
use mesh_backend::quadlet::{
    keys::{Key, install, service, socket, unit as about},
    unit::Unit,
    value::Value,
};

/// The controller's unit.
pub(super) const SERVICE: &str = "mesh-controller.service";
/// The unit of the router's socket; its name ties it to [`SERVICE`].
pub(super) const SOCKET: &str = "mesh-controller.socket";

/// What the units are to say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) program: &'a Path,
    pub(super) backend: BackendFlag,
    pub(super) user: bool,
    pub(super) state_dir: &'a Path,
    pub(super) router_listen: SocketAddr,
    /// Further flags of the daemon.
    pub(super) flags: &'a [String],
}

impl Wanted<'_> {
    /// `mesh-controller.socket`.
    ///
    /// # Errors
    /// An address that a unit file cannot hold.
    pub(super) fn socket(&self) -> Result<String> {
        let mut unit = Unit::default();
        all(&mut unit, &[(about::DESCRIPTION, "Listener of the router of mesh-controller")])?;
        set(&mut unit, socket::LISTEN_STREAM, self.router_listen.to_string())?;
        unit.comment("It stays open while the service restarts: connections wait, none is refused.");
        all(&mut unit, &[(socket::FILE_DESCRIPTOR_NAME, "router"), (socket::BACKLOG, "4096"), (install::WANTED_BY, "sockets.target")])?;
        Ok(unit.text())
    }

    /// `mesh-controller.service`.
    ///
    /// # Errors
    /// A path that a unit file cannot hold.
    pub(super) fn service(&self) -> Result<String> {
        let mut unit = Unit::default();
        let what = "mesh-controller: services, their instances, and the router to them";
        all(&mut unit, &[(about::DESCRIPTION, what), (about::REQUIRES, SOCKET)])?;
        set(&mut unit, about::AFTER, [&[SOCKET], self.wants()].concat().join(" "))?;
        if !self.wants().is_empty() {
            set(&mut unit, about::WANTS, self.wants().join(" "))?;
        }
        set(&mut unit, about::START_LIMIT_INTERVAL_SEC, "0")?;
        unit.comment("It tries again for as long as it takes.");
        set(&mut unit, service::TYPE, "notify")?;
        set(&mut unit, service::EXEC_START, self.command()?)?;
        set(&mut unit, service::KILL_MODE, "process")?;
        unit.comment("Only the controller itself ends at a stop: instances go on running, and the next controller takes them up.");
        all(&mut unit, &[(service::RESTART, "on-failure"), (service::RESTART_SEC, "2"), (service::RESTART_PREVENT_EXIT_STATUS, "2")])?;
        unit.comment("Wrong flags do not get right by waiting.");
        all(&mut unit, &[(service::TIMEOUT_STOP_SEC, "30"), (service::LIMIT_NOFILE, "65536")])?;
        self.surroundings(&mut unit)?;
        set(&mut unit, install::WANTED_BY, if self.user { "default.target" } else { "multi-user.target" })?;
        Ok(unit.text())
    }

    fn command(&self) -> Result<Vec<String>> {
        let backend = match self.backend {
            BackendFlag::Process => "process",
            BackendFlag::Podman => "podman",
            BackendFlag::Quadlet => "quadlet",
            BackendFlag::Kubernetes => "kubernetes",
        };
        let refuse =
            |path: &Path, what: &str| Failure::new(Code::Usage, format!("{}: {what}, which a unit file cannot hold", path.display()));
        let text = |path: &Path| path.to_str().map(ToOwned::to_owned).ok_or_else(|| refuse(path, "the path is not UTF-8"));
        let program = text(self.program)?;
        // There systemd replaces nothing, so the sign could not be doubled; nor does it know escapes.
        if program.contains(|c: char| c == '$' || c.is_control()) {
            return Err(refuse(self.program, "the path has a dollar sign or a control character"));
        }
        let mut words =
            vec![program, "run".to_owned(), "--backend".to_owned(), backend.to_owned(), "--state-dir".to_owned(), text(self.state_dir)?];
        words.extend(self.flags.iter().cloned());
        Ok(words)
    }

    /// A user's manager knows nothing of the system's units.
    fn wants(&self) -> &'static [&'static str] {
        match (self.backend, self.user) {
            (BackendFlag::Podman, false) => &["podman.socket", "network-online.target"],
            (BackendFlag::Podman, true) => &["podman.socket"],
            (BackendFlag::Process | BackendFlag::Quadlet | BackendFlag::Kubernetes, false) => &["network-online.target"],
            (BackendFlag::Process | BackendFlag::Quadlet | BackendFlag::Kubernetes, true) => &[],
        }
    }

    /// As little as the backend leaves room for.
    fn surroundings(&self, unit: &mut Unit) -> Result {
        match self.backend {
            BackendFlag::Podman => {
                set(unit, service::NO_NEW_PRIVILEGES, "yes")?;
                unit.comment("The backend talks to the engine's socket and starts no program.");
                all(
                    unit,
                    &[
                        (service::LOCK_PERSONALITY, "yes"),
                        (service::MEMORY_DENY_WRITE_EXECUTE, "yes"),
                        (service::RESTRICT_REALTIME, "yes"),
                        (service::RESTRICT_SUID_SGID, "yes"),
                        (service::SYSTEM_CALL_ARCHITECTURES, "native"),
                    ],
                )?;
                if self.user {
                    // The rest needs rights that a user's manager has not everywhere.
                    return Ok(());
                }
                all(
                    unit,
                    &[
                        (service::PROTECT_SYSTEM, "full"),
                        (service::PROTECT_KERNEL_TUNABLES, "yes"),
                        (service::PROTECT_KERNEL_MODULES, "yes"),
                        (service::PROTECT_KERNEL_LOGS, "yes"),
                        (service::PROTECT_CONTROL_GROUPS, "yes"),
                    ],
                )
            }
            BackendFlag::Process => {
                set(unit, service::OOM_POLICY, "continue")?;
                unit.comment("One that runs out of memory does not take the others with it.");
                set(unit, service::TASKS_MAX, "infinity")?;
                unit.comment("The instances are programs of the users and run in this unit: what is forbidden here is forbidden to them, so nothing is.");
                set(unit, service::DELEGATE, "yes")?;
                unit.comment("Each instance gets a control group of its own.");
                Ok(())
            }
            // It asks systemd, podman and the generator, which may do what they must.
            BackendFlag::Quadlet | BackendFlag::Kubernetes => Ok(()),
        }
    }
}

fn set(unit: &mut Unit, key: Key, value: impl Into<Value>) -> Result {
    unit.set(key, "the flags", value).map_err(|refused| Failure::new(Code::Usage, refused.to_string()))
}

fn all(unit: &mut Unit, settings: &[(Key, &str)]) -> Result {
    settings.iter().try_for_each(|(key, value)| set(unit, *key, *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(backend: BackendFlag, user: bool) -> Wanted<'static> {
        Wanted {
            program: Path::new("/opt/mesh 1/mesh-controller"),
            backend,
            user,
            state_dir: Path::new("/srv/50% $full"),
            router_listen: "[::]:80".parse().unwrap(),
            flags: &[],
        }
    }

    #[test]
    fn golden_units() {
        for (name, backend, user) in [
            ("podman", BackendFlag::Podman, false),
            ("podman-user", BackendFlag::Podman, true),
            ("process", BackendFlag::Process, false),
            ("quadlet-user", BackendFlag::Quadlet, true),
        ] {
            mesh_gear::golden::check(&format!("tests/golden/cli/install-{name}.service"), &wanted(backend, user).service().unwrap());
        }
        mesh_gear::golden::check("tests/golden/cli/install.socket", &wanted(BackendFlag::Podman, false).socket().unwrap());
    }
}
