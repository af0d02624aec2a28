//! Plain services, for a Podman before 4.4: what Quadlet would make of the units, with the same containers.
use super::{Error, Host, Instance, Tries, Writer, field};
use crate::quadlet::{
    argv,
    keys::{service as setting, unit as about},
    names, templates,
    unit::Unit,
};

/// The service of an instance: `<stem>@<ordinal>.service`.
///
/// # Errors
/// A field that cannot be carried to the container as it is.
pub fn service(instance: &Instance<'_>, host: &Host) -> Result<Unit, Error> {
    let base = if instance.container.is_run() { templates::plain_task() } else { templates::plain_container() };
    let mut unit = Writer { unit: base, host };
    unit.about_service(instance)?;
    unit.kept_running()?;
    unit.engine(instance, argv::run(instance, host)?, true)?;
    Ok(unit.unit)
}

/// The service of a task that systemd runs without a controller.
///
/// # Errors
/// A field that cannot be carried to the container as it is.
pub fn task_service(instance: &Instance<'_>, tries: &Tries, host: &Host) -> Result<Unit, Error> {
    let mut unit = Writer { unit: templates::plain_job(), host };
    unit.about_service(instance)?;
    unit.tries(instance, tries)?;
    unit.engine(instance, argv::run_to_end(instance, host)?, false)?;
    Ok(unit.unit)
}

impl Writer<'_> {
    fn about_service(&mut self, instance: &Instance<'_>) -> Result<(), Error> {
        let Instance { namespace, service, name, after, container, .. } = instance;
        super::check_names(instance)?;
        self.unit.set(about::DESCRIPTION, "metadata.name", format!("mesh: {name} of {namespace}/{service}"))?;
        let network = format!("{}-network.service", container.network);
        for needed in after.iter().map(String::as_str).chain([network.as_str()]) {
            self.unit.add(about::AFTER, "the start order", needed)?;
            self.unit.add(about::WANTS, "the start order", needed)?;
        }
        Ok(())
    }

    /// What is run, how it is ended, and the limits.
    fn engine(&mut self, instance: &Instance<'_>, run: Vec<String>, detached: bool) -> Result<(), Error> {
        let container = instance.container;
        for mount in &container.mounts {
            self.host_path(mount)?;
        }
        self.unit.add(setting::EXEC_START, "spec", run)?;
        let remove = |podman: &str| [podman, "rm", "-v", "-f", "-i", container.name.as_str()].map(ToOwned::to_owned).to_vec();
        if detached {
            self.unit.add(setting::EXEC_STOP, "spec", remove(argv::PODMAN))?;
        }
        self.unit.add(setting::EXEC_STOP_POST, "spec", remove(&format!("-{}", argv::PODMAN)))?;
        self.unit.set(
            setting::TIMEOUT_STOP_SEC,
            "spec.terminationGracePeriodSeconds",
            format!("{}s", container.stop_grace.as_secs().saturating_add(20)),
        )?;
        self.limits_of_service(instance)
    }

    /// All limits by systemd: an old Podman's own need controllers that it may not have been given.
    fn limits_of_service(&mut self, instance: &Instance<'_>) -> Result<(), Error> {
        self.limits(&instance.container.resources)
    }
}

/// The service that makes a network: `<network>-network.service`, the name that Quadlet gives it.
///
/// # Errors
/// The name is none for a network.
pub fn network_service(network: &str) -> Result<Unit, Error> {
    once("network", network)
}

/// The service that makes a volume: `<volume>-volume.service`.
///
/// # Errors
/// The name is none for a volume.
pub fn volume_service(volume: &str) -> Result<Unit, Error> {
    once("volume", volume)
}

fn once(kind: &str, name: &str) -> Result<Unit, Error> {
    if !names::is_plain(name) {
        return field(kind, format!("{name:?} is no name for a unit"));
    }
    let mut unit = templates::oneshot();
    unit.set(about::DESCRIPTION, kind, format!("mesh: {kind} {name}"))?;
    // `create` fails where it is there already, and before 4.4 has no --ignore for it.
    let exists = [argv::PODMAN, kind, "exists", name];
    let create = ["||", argv::PODMAN, kind, "create", name];
    let line = exists.iter().chain(create.iter()).copied().collect::<Vec<_>>().join(" ");
    unit.add(setting::EXEC_START, kind, vec!["/bin/sh".to_owned(), "-c".to_owned(), line])?;
    Ok(unit)
}
