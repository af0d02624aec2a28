//! What Podman must be told for a container, straight from its description.
use std::collections::BTreeMap;

use mesh_controller::{
    api::container::ImagePullPolicy,
    backend::quadlet::{render, version::Podman},
    plan::container::{Container, Source},
};

use super::judge::Run;

/// The flags, image and arguments, whichever keys or flags carry them.
pub(crate) fn run(instance: &render::Instance<'_>, host: &render::Host) -> Run {
    let container = instance.container;
    let mut flags: Vec<(String, String)> = Vec::new();
    let mut flag = |name: &str, value: &str| flags.push((name.to_owned(), value.to_owned()));
    for constant in ["replace", "rm", "detach"] {
        flag(constant, "true");
    }
    flag("cgroups", "split");
    flag("sdnotify", "conmon");
    flag("name", &container.name);
    flag("log-driver", "journald");
    flag("network", &container.network);
    container.aliases.iter().for_each(|alias| flag("network-alias", alias));
    if let Some(port) = container.port {
        flag("publish", &format!("127.0.0.1:{}:{}", port.host, port.container));
    }
    flag(
        "pull",
        match container.pull {
            ImagePullPolicy::Always => "always",
            ImagePullPolicy::IfNotPresent => "missing",
            ImagePullPolicy::Never => "never",
        },
    );
    if !container.command.is_empty() {
        flag("entrypoint", &serde_json::to_string(&container.command).unwrap());
    }
    if let Some(dir) = &container.working_dir {
        flag("workdir", dir);
    }
    let variables: BTreeMap<&str, _> = container.env.iter().map(|var| (var.name.as_str(), var)).collect();
    for (name, var) in variables.iter().filter(|(_, var)| !var.secret) {
        flag("env", &format!("{name}={}", var.value.reveal()));
    }
    container.labels.iter().for_each(|(name, value)| flag("label", &format!("{name}={value}")));
    if host.podman >= Podman::new(5, 5)
        && let Some(memory) = container.resources.memory
    {
        flag("memory", &memory.to_string());
    }
    flag("read-only", &container.security.read_only_root.to_string());
    if container.security.no_new_privileges {
        flag("security-opt", "no-new-privileges");
    }
    container.security.drop.iter().for_each(|name| flag("cap-drop", &name.to_lowercase()));
    container.security.add.iter().for_each(|name| flag("cap-add", &name.to_lowercase()));
    match (container.security.user, container.security.group) {
        (Some(user), Some(group)) => flag("user", &format!("{user}:{group}")),
        (Some(user), None) => flag("user", &user.to_string()),
        (None, _) => {}
    }
    flag("stop-timeout", &container.stop_grace.as_secs().to_string());
    for (name, value) in mounts(instance, host) {
        flag(name, &value);
    }
    // The name of a secret is the renderer's own; what it is for and where it goes is not.
    for secret in render::secrets(instance).unwrap() {
        flag("secret", &secret.reference());
    }
    flags.sort();
    Run { flags, image: container.image.clone(), args: container.args.clone() }
}

fn mounts(instance: &render::Instance<'_>, host: &render::Host) -> Vec<(&'static str, String)> {
    let stem = format!("mesh-{}.{}-{}", instance.namespace, instance.service, instance.revision);
    let mounts = instance.container.mounts.iter().filter_map(|mount| {
        let access = if mount.read_only { "ro" } else { "rw" };
        let target = &mount.target;
        Some(match &mount.source {
            Source::Files { secret: true, .. } => return None,
            Source::Files { .. } => ("volume", format!("{}/{stem}/{}:{target}:{access},z", host.data.display(), mount.name)),
            Source::Volume { volume, .. } => ("volume", format!("{volume}:{target}:{access}")),
            Source::Host { path, .. } => ("volume", format!("{path}:{target}:{access}")),
            Source::Controllers { path } => ("volume", format!("{path}:{target}:{access},z")),
            Source::Memory { size } => {
                ("tmpfs", format!("{target}:{access},mode=1777{}", size.map(|size| format!(",size={size}")).unwrap_or_default()))
            }
        })
    });
    mounts.collect()
}

/// The networks and volumes that have units, by the file that a `.container` names.
pub(crate) fn units(container: &Container) -> BTreeMap<String, String> {
    let volumes = container.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Volume { volume, owned: false } => Some((format!("{volume}.volume"), volume.clone())),
        _ => None,
    });
    volumes.chain([(format!("{}.network", container.network), container.network.clone())]).collect()
}
