//! `podman run` for a container: what a unit for an old Podman starts, and what `mesh podman plan` prints. Each value is one word behind its flag.
use super::render::{Error, Host, Instance, check_image, data_mounts, pull_policy, secrets};
use mesh_plan::container::Container;

/// Where Podman is.
pub const PODMAN: &str = "/usr/bin/podman";

/// The argument vector that runs an instance under systemd, detached, and tells systemd when it runs.
///
/// # Errors
/// A field that cannot be carried to the container as it is.
pub fn run(instance: &Instance<'_>, host: &Host) -> Result<Vec<String>, Error> {
    words(instance, host, &["--sdnotify=conmon", "--detach", "--log-driver=journald"])
}

/// The argument vector that runs an instance until it ends. What it writes is Podman's own output, which systemd has in the journal.
///
/// # Errors
/// A field that cannot be carried to the container as it is.
pub fn run_to_end(instance: &Instance<'_>, host: &Host) -> Result<Vec<String>, Error> {
    words(instance, host, &["--log-driver=passthrough"])
}

fn words(instance: &Instance<'_>, host: &Host, how: &[&str]) -> Result<Vec<String>, Error> {
    let container = instance.container;
    check_image(&container.image)?;
    let always = [PODMAN, "run", "--replace", "--rm", "--cgroups=split"];
    let mut words: Vec<String> = always.iter().chain(how).map(|word| (*word).to_owned()).collect();
    let mut flag = |name: &str, value: &str| words.push(format!("--{name}={value}"));
    flag("name", &container.name);
    flag("pull", pull_policy(container.pull));
    flag("network", &container.network);
    container.aliases.iter().for_each(|alias| flag("network-alias", alias));
    if let Some(port) = container.port {
        flag("publish", &format!("127.0.0.1:{}:{}", port.host, port.container));
    }
    container
        .variables()
        .into_iter()
        .filter(|(_, var)| !var.secret)
        .for_each(|(name, var)| flag("env", &format!("{name}={}", var.value.reveal())));
    secrets(instance)?.iter().for_each(|secret| flag("secret", &secret.reference()));
    for (name, value) in data_mounts(instance, host)? {
        flag(name, &value);
    }
    container.labels.iter().for_each(|(name, value)| flag("label", &format!("{name}={value}")));
    instance.health.iter().flat_map(|health| health.flags()).for_each(|(name, value)| flag(name, &value));
    words.extend(security(container)?);
    words.extend(program(container)?);
    Ok(words)
}

fn security(container: &Container) -> Result<Vec<String>, Error> {
    let security = &container.security;
    let mut words = vec![format!("--read-only={}", security.read_only_root)];
    if security.no_new_privileges {
        words.push("--security-opt=no-new-privileges".to_owned());
    }
    words.extend(security.drop.iter().map(|name| format!("--cap-drop={name}")));
    words.extend(security.add.iter().map(|name| format!("--cap-add={name}")));
    match (security.user, security.group) {
        (Some(user), Some(group)) => words.push(format!("--user={user}:{group}")),
        (Some(user), None) => words.push(format!("--user={user}")),
        (None, Some(_)) => {
            return super::render::field(
                "spec.securityContext.runAsGroup",
                "Podman takes a group only with a user: give runAsUser as well",
            );
        }
        (None, None) => {}
    }
    words.push(format!("--stop-timeout={}", container.stop_grace.as_secs()));
    Ok(words)
}

/// The working directory, the entrypoint, the image and the arguments.
fn program(container: &Container) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    if let Some(dir) = &container.working_dir {
        if !dir.starts_with('/') {
            return super::render::field(
                "spec.workingDir",
                format!("{dir:?} is relative; in a container it must be absolute, for example /app"),
            );
        }
        words.push(format!("--workdir={dir}"));
    }
    if !container.command.is_empty() {
        words.push(format!("--entrypoint={}", serde_json::to_string(&container.command).unwrap_or_default()));
    }
    words.push(container.image.clone());
    words.extend(container.args.iter().cloned());
    Ok(words)
}
