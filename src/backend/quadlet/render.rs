//! From a container to units: the whole unit of an instance, and its two parts: the template that the instances of a revision share, and the
//! drop-in of one. Pure. What a version of Podman lacks becomes an argument or a setting of systemd instead.
mod health;
mod mounts;
mod plain;
mod pods;
mod secrets;
mod shared;
mod task;

pub use health::{Health, health};
pub use mounts::{DataFile, data_files, data_mounts};
pub use plain::{network_service, service, task_service, volume_service};
pub use pods::{in_pod, joining, pod, pod_file};
pub use secrets::{EngineSecret, secrets};
pub use shared::{image, image_file, network, network_file, volume, volume_file};
pub use task::{Timer, Times, Tries, task, timer};

use std::path::PathBuf;

use super::{
    keys::{Key, container as key, install, service as setting, unit as about},
    names, templates,
    unit::{Refused, Unit},
    value::Value,
    version::{Podman, Systemd},
};
use mesh_api::container::ImagePullPolicy;
use mesh_plan::{
    about::OWN,
    container::{Container, Resources},
};

/// Why a container cannot be a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value cannot be written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Something else about a field.
    #[error("{field}: {what}")]
    Field {
        /// The field of the spec.
        field: String,
        /// What is wrong, and the remedy.
        what: String,
    },
    /// The version of Podman lacks it, and nothing stands in for it.
    #[error("{what} needs Podman {needs}; this is {has}")]
    Version {
        /// What was asked for.
        what: String,
        /// The first version that has it.
        needs: Podman,
        /// The version that the units are for.
        has: Podman,
    },
}

/// A field that is not as it must be.
pub(crate) fn field<T>(field: impl Into<String>, what: impl Into<String>) -> Result<T, Error> {
    Err(Error::Field { field: field.into(), what: what.into() })
}

/// What the units are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The version of Podman.
    pub podman: Podman,
    /// The version of systemd, if it is known; keys that not every version has are left out otherwise.
    pub systemd: Option<Systemd>,
    /// The absolute folder where mounted files lie on the machine.
    pub data: PathBuf,
    /// Whether images are pulled by units of their own.
    pub image_units: bool,
}

/// One instance.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its `MeshService`.
    pub service: &'a str,
    /// Its revision.
    pub revision: &'a str,
    /// Its own name, `<service>-<revision>-<ordinal>`.
    pub name: &'a str,
    /// Which of its revision it is.
    pub ordinal: u32,
    /// What it runs.
    pub container: &'a Container,
    /// What tells systemd that it has started, if not its start.
    pub health: Option<&'a Health>,
    /// Units that are started before it.
    pub after: &'a [String],
}

impl Instance<'_> {
    /// The stem of its revision's unit files.
    pub fn stem(&self) -> String {
        names::stem(self.namespace, self.service, self.revision)
    }

    /// The service that systemd runs for it.
    pub fn unit_name(&self) -> String {
        names::service(&self.stem(), self.ordinal)
    }
}

/// The unit that all instances of a revision share: `<stem>@.container`. It is the same for each of them.
///
/// # Errors
/// See [`whole`].
pub fn template(instance: &Instance<'_>, host: &Host) -> Result<Unit, Error> {
    Ok(part(instance, &whole(instance, host)?, false))
}

/// What differs in one instance: `<stem>@<ordinal>.container.d/10-mesh.conf`.
///
/// # Errors
/// See [`whole`].
pub fn drop_in(instance: &Instance<'_>, host: &Host) -> Result<Unit, Error> {
    Ok(part(instance, &whole(instance, host)?, true))
}

/// The lines that are an instance's own (its port, and all that name it), or the others.
fn part(instance: &Instance<'_>, whole: &Unit, own: bool) -> Unit {
    let names = |text: &str| text.contains(instance.name) || text.contains(instance.container.name.as_str());
    whole.only(|entry| {
        let is_own = entry.key == key::PUBLISH_PORT
            || match &entry.value {
                Value::Text(text) => names(text),
                Value::Words(words) => words.iter().any(|word| names(word)),
                Value::Pair(key, value) => names(key) || names(value) || OWN.contains(&key.as_str()),
                Value::Flag(_) => false,
            };
        is_own == own
    })
}

/// The whole unit of an instance, as a Podman before 5.3 needs it, and as the two parts together mean.
///
/// # Errors
/// A field that cannot be carried to the container as it is.
pub fn whole(instance: &Instance<'_>, host: &Host) -> Result<Unit, Error> {
    let base = if instance.container.is_run() { templates::task() } else { templates::container() };
    let mut unit = Writer { unit: base, host };
    unit.about(instance)?;
    unit.kept_running()?;
    unit.container(instance, "journald")?;
    Ok(unit.unit)
}

/// Names that become file names, or that stand where an engine would read something else.
fn check_names(instance: &Instance<'_>) -> Result<(), Error> {
    let Container { name, network, aliases, .. } = instance.container;
    let all = [
        ("metadata.namespace", instance.namespace),
        ("metadata.name", instance.service),
        ("the revision", instance.revision),
        ("the instance's name", instance.name),
        ("spec.podman.containerPrefix", name.as_str()),
        ("spec.podman.network", network.as_str()),
    ];
    let aliases = aliases.iter().map(|alias| ("the alias on the network", alias.as_str()));
    match all.into_iter().chain(aliases).find(|(_, name)| !names::is_plain(name)) {
        Some((of, name)) => field(of, format!("{name:?} is no name for a unit: letters, digits, '-', '.' and '_' only, up to 200 of them")),
        None => Ok(()),
    }
}

/// Sets keys over a base, each in the way that the version of Podman allows.
pub(crate) struct Writer<'a> {
    pub(crate) unit: Unit,
    pub(crate) host: &'a Host,
}

impl Writer<'_> {
    /// Whether the Podman knows a key.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.host.podman >= key.since()
    }

    /// A key with one text; the argument `--flag=text` for a Podman that does not know the key.
    pub(crate) fn text(&mut self, key: Key, field: &str, flag: &str, text: &str) -> Result<(), Error> {
        if self.has(key) {
            self.unit.add(key, field, text)?;
        } else {
            self.argument(field, flag, text)?;
        }
        Ok(())
    }

    /// The argument `--flag=text` of `podman run`, as one word.
    pub(crate) fn argument(&mut self, field: &str, flag: &str, text: &str) -> Result<(), Error> {
        Ok(self.unit.add(key::PODMAN_ARGS, field, vec![format!("--{flag}={text}")])?)
    }

    fn about(&mut self, instance: &Instance<'_>) -> Result<(), Error> {
        check_names(instance)?;
        let Instance { namespace, service, name, after, .. } = instance;
        self.unit.set(about::DESCRIPTION, "metadata.name", format!("mesh: {name} of {namespace}/{service}"))?;
        network_online(&mut self.unit, self.host)?;
        for unit in *after {
            self.unit.add(about::AFTER, "the start order", unit.as_str())?;
            self.unit.add(about::WANTS, "the start order", unit.as_str())?;
        }
        Ok(())
    }

    fn kept_running(&mut self) -> Result<(), Error> {
        if self.host.systemd >= Some(Systemd::RESTART_STEPS) {
            self.unit.add(setting::RESTART_STEPS, "restart", "6")?;
            self.unit.add(setting::RESTART_MAX_DELAY_SEC, "restart", "1min")?;
        }
        self.unit.set(install::WANTED_BY, "install", "default.target")?;
        Ok(())
    }

    /// All that Podman is told, and the limits. `logs` is the driver of what the container writes.
    fn container(&mut self, instance: &Instance<'_>, logs: &str) -> Result<(), Error> {
        let container = instance.container;
        self.process(container, logs)?;
        self.environment(instance)?;
        self.network(container)?;
        self.mounts(instance)?;
        self.limits(&container.resources)?;
        self.security(container)?;
        self.stopping(container)?;
        if let Some(health) = instance.health {
            self.health(health)?;
        }
        for (name, value) in &container.labels {
            self.unit.add(key::LABEL, &format!("label {name}"), (name.as_str(), value.as_str()))?;
        }
        Ok(())
    }

    fn process(&mut self, container: &Container, logs: &str) -> Result<(), Error> {
        check_image(&container.image)?;
        if self.host.image_units && container.pull != ImagePullPolicy::Never {
            self.unit.add(key::IMAGE, "spec.image", image_file(&container.image))?;
            self.text(key::PULL, "spec.imagePullPolicy", "pull", "missing")?;
        } else {
            self.unit.add(key::IMAGE, "spec.image", container.image.as_str())?;
            self.text(key::PULL, "spec.imagePullPolicy", "pull", pull_policy(container.pull))?;
        }
        self.unit.add(key::CONTAINER_NAME, "spec.podman.containerPrefix", container.name.as_str())?;
        self.text(key::LOG_DRIVER, "logs", "log-driver", logs)?;
        if !container.command.is_empty() {
            // The vector as JSON: Podman takes it apart again, and no image's own arguments follow it.
            let json = serde_json::to_string(&container.command).unwrap_or_default();
            self.text(key::ENTRYPOINT, "spec.command", "entrypoint", &json)?;
        }
        if !container.args.is_empty() {
            for (index, arg) in container.args.iter().enumerate() {
                super::encode::value(super::keys::Class::Words, &Value::Words(vec![arg.clone()])).map_err(|bad| Refused {
                    field: format!("spec.args[{index}]"),
                    key: key::EXEC,
                    bad,
                })?;
            }
            self.unit.add(key::EXEC, "spec.args", container.args.clone())?;
        }
        if let Some(dir) = &container.working_dir {
            if !dir.starts_with('/') {
                return field("spec.workingDir", format!("{dir:?} is relative; in a container it must be absolute, for example /app"));
            }
            self.text(key::WORKING_DIR, "spec.workingDir", "workdir", dir)?;
        }
        Ok(())
    }

    fn environment(&mut self, instance: &Instance<'_>) -> Result<(), Error> {
        for (name, var) in instance.container.variables() {
            let of = format!("spec.env[name={name}]");
            if !var.secret {
                self.unit.add(key::ENVIRONMENT, &of, (name, var.value.reveal()))?;
            }
        }
        for secret in secrets(instance)? {
            self.secret(&secret)?;
        }
        Ok(())
    }

    fn network(&mut self, container: &Container) -> Result<(), Error> {
        self.unit.add(key::NETWORK, "spec.podman.network", network_file(&container.network))?;
        for alias in &container.aliases {
            self.text(key::NETWORK_ALIAS, "the alias on the network", "network-alias", alias)?;
        }
        if let Some(port) = container.port {
            self.unit.add(key::PUBLISH_PORT, "spec.port", format!("127.0.0.1:{}:{}", port.host, port.container))?;
        }
        Ok(())
    }

    /// With `--cgroups=split` the container lives below its service, so systemd's limits hold for it in every version.
    fn limits(&mut self, resources: &Resources) -> Result<(), Error> {
        let Resources { memory, cpu_milli, memory_request, cpu_request_milli } = *resources;
        if let Some(bytes) = memory {
            let key = if self.has(key::MEMORY) { key::MEMORY } else { setting::MEMORY_MAX };
            self.unit.add(key, "spec.resources.limits.memory", bytes.to_string())?;
        }
        if let Some(milli) = cpu_milli {
            self.unit.add(setting::CPU_QUOTA, "spec.resources.limits.cpu", cpu_quota(milli))?;
        }
        if let Some(bytes) = memory_request {
            self.unit.add(setting::MEMORY_LOW, "spec.resources.requests.memory", bytes.to_string())?;
        }
        if let Some(milli) = cpu_request_milli {
            self.unit.add(setting::CPU_WEIGHT, "spec.resources.requests.cpu", cpu_weight(milli).to_string())?;
        }
        Ok(())
    }

    fn security(&mut self, container: &Container) -> Result<(), Error> {
        let security = &container.security;
        match (security.user, security.group) {
            (None, Some(_)) => {
                return field("spec.securityContext.runAsGroup", "Quadlet takes a group only with a user: give runAsUser as well");
            }
            (user, group) => {
                if let Some(user) = user {
                    self.unit.add(key::USER, "spec.securityContext.runAsUser", user.to_string())?;
                }
                if let Some(group) = group {
                    self.unit.add(key::GROUP, "spec.securityContext.runAsGroup", group.to_string())?;
                }
            }
        }
        self.unit.add(key::READ_ONLY, "spec.securityContext.readOnlyRootFilesystem", security.read_only_root)?;
        self.unit.add(key::NO_NEW_PRIVILEGES, "spec.securityContext.allowPrivilegeEscalation", security.no_new_privileges)?;
        if !security.drop.is_empty() {
            self.unit.add(key::DROP_CAPABILITY, "spec.securityContext.capabilities.drop", security.drop.clone())?;
        }
        if !security.add.is_empty() {
            self.unit.add(key::ADD_CAPABILITY, "spec.securityContext.capabilities.add", security.add.clone())?;
        }
        Ok(())
    }

    fn stopping(&mut self, container: &Container) -> Result<(), Error> {
        let seconds = container.stop_grace.as_secs();
        self.text(key::STOP_TIMEOUT, "spec.terminationGracePeriodSeconds", "stop-timeout", &seconds.to_string())?;
        // Podman needs a little longer than the program.
        let limit = format!("{}s", seconds.saturating_add(20));
        self.unit.set(setting::TIMEOUT_STOP_SEC, "spec.terminationGracePeriodSeconds", limit)?;
        Ok(())
    }
}

/// Orders a unit behind the machine's network, which is needed to pull images and to forward ports; a later Quadlet does it by itself.
pub(crate) fn network_online(unit: &mut Unit, host: &Host) -> Result<(), Error> {
    if host.podman < Podman::NETWORK_ONLINE {
        for key in [about::AFTER, about::WANTS] {
            unit.add(key, "the start order", "network-online.target")?;
        }
    }
    Ok(())
}

/// An image must not be taken for an argument, nor for a unit of Quadlet.
pub(crate) fn check_image(image: &str) -> Result<(), Error> {
    let first = image.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !first || !image.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@+".contains(c)) {
        return field("spec.image", format!("{image:?} is no image: write for example quay.io/you/app:1.4"));
    }
    if [".image", ".build"].iter().any(|suffix| image.ends_with(suffix)) {
        return field(
            "spec.image",
            format!("{image:?} would be taken for a unit of Quadlet: name the tag as well, for example {image}:latest"),
        );
    }
    Ok(())
}

/// As `podman run --pull` has it.
pub(crate) fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "always",
        ImagePullPolicy::IfNotPresent => "missing",
        ImagePullPolicy::Never => "never",
    }
}

/// systemd counts in hundredths of a CPU, and takes fractions of them.
pub(crate) fn cpu_quota(milli: u64) -> String {
    let tenths = milli.max(10);
    if tenths.is_multiple_of(10) { format!("{}%", tenths / 10) } else { format!("{}.{}%", tenths / 10, tenths % 10) }
}

/// The weight that Kubernetes gives a request: shares of 1024 per CPU, mapped to cgroup 2's 1 to 10000.
pub(crate) fn cpu_weight(milli: u64) -> u64 {
    let shares = (milli.saturating_mul(1024) / 1000).clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}
