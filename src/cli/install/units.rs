//! The texts of the two units. Pure.
use std::{net::SocketAddr, path::Path};

use crate::{
    backend::BackendFlag,
    exit::{Code, Failure, Result},
};
use mesh_backend::quadlet::{encode, keys::Class, unit::Value};

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

/// A unit's text as it grows.
#[derive(Default)]
struct Unit(Vec<String>);

impl Unit {
    fn section(mut self, name: &str) -> Self {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        self.0.push(format!("{gap}[{name}]\n"));
        self
    }

    fn comment(mut self, text: &str) -> Self {
        self.0.push(format!("# {text}\n"));
        self
    }

    /// A setting whose value is text of ours or has been quoted.
    fn set(mut self, key: &str, value: &str) -> Self {
        self.0.push(format!("{key}={value}\n"));
        self
    }

    fn all(self, settings: &[(&str, &str)]) -> Self {
        settings.iter().fold(self, |unit, (key, value)| unit.set(key, value))
    }
}

impl Unit {
    fn text(self) -> String {
        self.0.concat()
    }
}

impl Wanted<'_> {
    /// `mesh-controller.socket`.
    pub(super) fn socket(&self) -> String {
        Unit::default()
            .section("Unit")
            .set("Description", "Listener of the router of mesh-controller")
            .section("Socket")
            .comment("It stays open while the service restarts: connections wait, none is refused.")
            .set("ListenStream", &self.router_listen.to_string())
            .set("FileDescriptorName", "router")
            .set("Backlog", "4096")
            .section("Install")
            .set("WantedBy", "sockets.target")
            .text()
    }

    /// `mesh-controller.service`.
    ///
    /// # Errors
    /// A path that a unit file cannot hold.
    pub(super) fn service(&self) -> Result<String> {
        let unit = Unit::default()
            .section("Unit")
            .set("Description", "mesh-controller: services, their instances, and the router to them")
            .set("Requires", SOCKET)
            .set("After", &self.after())
            .set("Wants", self.wants())
            .comment("It tries again for as long as it takes.")
            .set("StartLimitIntervalSec", "0")
            .section("Service")
            .set("Type", "notify")
            .set("ExecStart", &self.command()?)
            .comment("Only the controller itself ends at a stop: instances go on running, and the next controller takes them up.")
            .set("KillMode", "process")
            .set("Restart", "on-failure")
            .set("RestartSec", "2")
            .comment("Wrong flags do not get right by waiting.")
            .set("RestartPreventExitStatus", "2")
            .set("TimeoutStopSec", "30")
            .set("LimitNOFILE", "65536");
        Ok(self
            .surroundings(unit)
            .section("Install")
            .set("WantedBy", if self.user { "default.target" } else { "multi-user.target" })
            .text())
    }

    fn command(&self) -> Result<String> {
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
        encode::value(Class::Command, &Value::Words(words))
            .map_err(|bad| Failure::new(Code::Usage, format!("these flags cannot stand in a unit file: {bad}")))
    }

    /// A user's manager knows nothing of the system's units.
    fn wants(&self) -> &'static str {
        match (self.backend, self.user) {
            (BackendFlag::Podman, false) => "podman.socket network-online.target",
            (BackendFlag::Podman, true) => "podman.socket",
            (BackendFlag::Process | BackendFlag::Quadlet | BackendFlag::Kubernetes, false) => "network-online.target",
            (BackendFlag::Process | BackendFlag::Quadlet | BackendFlag::Kubernetes, true) => "",
        }
    }

    fn after(&self) -> String {
        format!("{SOCKET} {}", self.wants()).trim_end().to_owned()
    }

    /// As little as the backend leaves room for.
    fn surroundings(&self, unit: Unit) -> Unit {
        match self.backend {
            BackendFlag::Podman => {
                let unit = unit.comment("The backend talks to the engine's socket and starts no program.").all(&[
                    ("NoNewPrivileges", "yes"),
                    ("LockPersonality", "yes"),
                    ("MemoryDenyWriteExecute", "yes"),
                    ("RestrictRealtime", "yes"),
                    ("RestrictSUIDSGID", "yes"),
                    ("SystemCallArchitectures", "native"),
                ]);
                if self.user {
                    // The rest needs rights that a user's manager has not everywhere.
                    return unit;
                }
                unit.all(&[
                    ("ProtectSystem", "full"),
                    ("ProtectKernelTunables", "yes"),
                    ("ProtectKernelModules", "yes"),
                    ("ProtectKernelLogs", "yes"),
                    ("ProtectControlGroups", "yes"),
                ])
            }
            BackendFlag::Process => unit
                .comment("The instances are programs of the users and run in this unit: what is forbidden here is forbidden to them, so nothing is.")
                .comment("One that runs out of memory does not take the others with it.")
                .all(&[("OOMPolicy", "continue"), ("TasksMax", "infinity")])
                .comment("Each instance gets a control group of its own.")
                .set("Delegate", "yes"),
            // It asks systemd, podman and the generator, which may do what they must.
            BackendFlag::Quadlet | BackendFlag::Kubernetes => unit,
        }
    }
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
            crate::golden::check(&format!("install-{name}.service"), &wanted(backend, user).service().unwrap());
        }
        crate::golden::check("install.socket", &wanted(BackendFlag::Podman, false).socket());
    }
}
