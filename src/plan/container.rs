//! One container of an instance, as every engine can run it: what Podman, Quadlet and `podman run` are told is made from this. Pure.
use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    about::{self, Door, Of, SOCKET_FOLDER, TOKEN, TOKEN_FOLDER},
    environment::{self, Missing, Sources, Var},
    files::{self, Content},
    quantity,
};
use mesh_api::{
    container::{HostPathType, ImagePullPolicy, Medium, ResourceList, SecurityContext, Volume},
    instance::InstanceTemplate,
    labels,
};
use mesh_kit::redact::Redacted;

/// The port that a container listens on where the spec gives none.
pub const DEFAULT_PORT: u16 = 8080;

/// Everything that an engine is told about one container; every reference is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// What the engine calls it: `<prefix>-<instance>`.
    pub name: String,
    /// The image, as in the spec.
    pub image: String,
    /// When it is pulled.
    pub pull: ImagePullPolicy,
    /// Takes the place of the image's entrypoint, and of its own arguments as well; empty to keep them.
    pub command: Vec<String>,
    /// Take the place of the image's own arguments; empty to keep them, unless there is a command.
    pub args: Vec<String>,
    /// Absolute; the image's if left out.
    pub working_dir: Option<String>,
    /// The environment on top of the image's, in order; a later name wins.
    pub env: Vec<Var>,
    /// The port it listens on, and where the machine publishes it (on loopback only).
    pub port: Option<Published>,
    /// The network whose members find each other by name.
    pub network: String,
    /// The names by which others on the network find it.
    pub aliases: Vec<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// What it may use.
    pub resources: Resources,
    /// What it may do.
    pub security: Security,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// For people and for finding it again; the backend adds its own.
    pub labels: BTreeMap<String, String>,
}

impl Container {
    /// The variables by name, the last of a name.
    pub fn variables(&self) -> BTreeMap<&str, &Var> {
        self.env.iter().map(|var| (var.name.as_str(), var)).collect()
    }

    /// Whether it comes to its end by itself: it is a run of a task.
    pub fn is_run(&self) -> bool {
        self.labels.contains_key(labels::TASK)
    }
}

/// A port of a container, and its port on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// In the container.
    pub container: u16,
    /// On 127.0.0.1.
    pub host: u16,
}

/// Something that is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The volume's name in the spec.
    pub name: String,
    /// The path in the container.
    pub target: String,
    /// It cannot be written there.
    pub read_only: bool,
    /// What is mounted.
    pub source: Source,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Files that the backend writes, from a `ConfigMap` or a Secret.
    Files {
        /// Their content by name.
        files: BTreeMap<String, Content>,
        /// Their permissions.
        mode: u32,
        /// They come from a Secret.
        secret: bool,
    },
    /// A named volume of the engine.
    Volume {
        /// The engine's name for it.
        volume: String,
        /// It goes with the instance.
        owned: bool,
    },
    /// A path of the machine.
    Host {
        /// The path.
        path: String,
        /// What must be there.
        kind: Option<HostPathType>,
    },
    /// A folder of the controller's own, for all containers that are told of it.
    Controllers {
        /// The path.
        path: String,
    },
    /// Memory.
    Memory {
        /// The most it may hold, in bytes.
        size: Option<u64>,
    },
}

/// What a container may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// At most so many bytes of memory.
    pub memory: Option<u64>,
    /// At most so many thousandths of a CPU.
    pub cpu_milli: Option<u64>,
    /// So many bytes are its own when memory is short.
    pub memory_request: Option<u64>,
    /// Its share of the CPUs when they are short, in thousandths.
    pub cpu_request_milli: Option<u64>,
}

/// What a container may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// The user that it runs as; the image's if left out.
    pub user: Option<i64>,
    /// The group that it runs as.
    pub group: Option<i64>,
    /// Its root cannot be written, but for /tmp, /run and /var/tmp.
    pub read_only_root: bool,
    /// It cannot gain privileges.
    pub no_new_privileges: bool,
    /// Capabilities that are taken away.
    pub drop: Vec<String>,
    /// Capabilities that are given.
    pub add: Vec<String>,
}

/// Who asks a registry for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryAuth {
    /// The registry's host, with its port if it has one.
    pub registry: String,
    /// The user.
    pub username: String,
    /// The password or token.
    pub password: Redacted,
}

/// The port that a container listens on, if it listens.
pub fn port(of: &Of<'_>) -> Option<u16> {
    of.serves.then(|| of.template.port.map_or(DEFAULT_PORT, |port| port.0))
}

/// The container of an instance; `host_port` is its port on the machine, where it has one.
///
/// # Errors
/// The first reference that leads nowhere, or that would put a secret where others see it.
pub fn container(of: &Of<'_>, sources: &Sources, host_port: Option<u16>) -> Result<Container, Missing> {
    let template = of.template;
    let published = port(of).zip(host_port).map(|(container, host)| Published { container, host });
    let own = own(of);
    let mut env = environment::resolve(template, sources, &own)?;
    let expanded = |field: &str, parts: &[String]| -> Result<Vec<String>, Missing> {
        parts.iter().enumerate().map(|(index, part)| environment::argument(part, &env, &format!("spec.{field}[{index}]"))).collect()
    };
    let (command, args) = (expanded("command", &template.command)?, expanded("args", &template.args)?);
    // What the mesh itself says stands last, so that nothing else takes its place.
    env.extend(own.into_iter().map(Var::plain));
    let image = template.image.clone().unwrap_or_default();
    Ok(Container {
        name: format!("{}-{}", prefix(of), of.instance),
        pull: template.image_pull_policy.unwrap_or_else(|| default_pull(&image)),
        image,
        command,
        args,
        working_dir: template.working_dir.clone(),
        env,
        port: published,
        network: network(of),
        aliases: aliases(of),
        mounts: mounts(of, sources)?,
        resources: resources(template),
        security: security(template.security_context.clone().unwrap_or_default()),
        stop_grace: Duration::from_secs(u64::try_from(template.termination_grace_period_seconds).unwrap_or(0)),
        labels: own_labels(of),
    })
}

/// The names by which others of its network find it. A run of a task is nobody's to find.
fn aliases(of: &Of<'_>) -> Vec<String> {
    let service = of.run.is_none().then(|| [of.service.to_owned(), format!("{}.{}", of.service, of.namespace)]);
    service.into_iter().flatten().chain([of.instance.to_owned()]).collect()
}

/// What the mesh tells a program in a container about itself.
fn own(of: &Of<'_>) -> Vec<(String, String)> {
    let mut vars = about::vars(of, port(of));
    if let Some(door) = &of.door {
        let socket = door.socket.file_name().unwrap_or_default().to_string_lossy();
        vars.extend(about::door(&format!("{SOCKET_FOLDER}/{socket}"), &format!("{TOKEN_FOLDER}/{TOKEN}")));
    }
    vars
}

/// The agent's socket, in its folder because a controller that starts makes it anew; and the instance's token, which no other container has.
fn door(of: &Of<'_>) -> Vec<Mount> {
    let mount = |name: &str, target: &str, folder: &Path| {
        let source = Source::Controllers { path: folder.display().to_string() };
        Mount { name: name.to_owned(), target: target.to_owned(), read_only: true, source }
    };
    let mounts = |door: &Door<'_>| {
        let folder = door.socket.parent().unwrap_or(Path::new("/"));
        vec![mount("mesh-agent", SOCKET_FOLDER, folder), mount("mesh-token", TOKEN_FOLDER, door.token)]
    };
    of.door.as_ref().map(mounts).unwrap_or_default()
}

/// What stands before the names of everything that an engine makes for a namespace.
pub fn prefix(of: &Of<'_>) -> String {
    let own = of.template.podman.as_ref().and_then(|podman| podman.container_prefix.clone());
    own.unwrap_or_else(|| format!("mesh-{}", of.namespace))
}

fn network(of: &Of<'_>) -> String {
    let own = of.template.podman.as_ref().and_then(|podman| podman.network.clone());
    own.unwrap_or_else(|| match of.part_of {
        Some(app) => format!("mesh-{}-{app}", of.namespace),
        None => format!("mesh-{}", of.namespace),
    })
}

fn own_labels(of: &Of<'_>) -> BTreeMap<String, String> {
    let own = [
        (labels::APP_NAME, of.service),
        (labels::APP_MANAGED_BY, labels::MANAGER),
        (labels::SERVICE, of.service),
        (labels::REVISION, of.revision),
        (labels::INSTANCE, of.instance),
        (labels::NAMESPACE, of.namespace),
    ];
    let part_of = of.part_of.map(|app| (labels::APP_PART_OF, app));
    let task = of.run.map(|run| (labels::TASK, run.task.as_str()));
    own.into_iter().chain(part_of).chain(task).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// A tag that moves is followed, as in Kubernetes; an image that was built here is nowhere else.
pub fn default_pull(image: &str) -> ImagePullPolicy {
    let last = image.rsplit('/').next().unwrap_or_default();
    let moves = !image.contains('@') && last.rsplit_once(':').is_none_or(|(_, tag)| tag == "latest");
    if moves && !image.starts_with("localhost/") { ImagePullPolicy::Always } else { ImagePullPolicy::IfNotPresent }
}

fn mounts(of: &Of<'_>, sources: &Sources) -> Result<Vec<Mount>, Missing> {
    let mut mounts = Vec::new();
    for mount in &of.template.volume_mounts {
        let Some((index, volume)) = of.template.volumes.iter().enumerate().find(|(_, volume)| volume.name == mount.name) else { continue };
        let (source, fixed) = source(of, volume, index, sources)?;
        mounts.push(Mount { name: mount.name.clone(), target: mount.mount_path.clone(), read_only: mount.read_only || fixed, source });
    }
    mounts.extend(door(of));
    Ok(mounts)
}

/// What is mounted, and whether it can never be written.
fn source(of: &Of<'_>, volume: &Volume, index: usize, sources: &Sources) -> Result<(Source, bool), Missing> {
    let field = format!("spec.volumes[{index}]");
    let mode = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
    if let Some(map) = &volume.config_map {
        let files = files::of_config_map(map, sources, &format!("{field}.configMap"))?;
        return Ok((Source::Files { files, mode: mode(map.default_mode), secret: false }, true));
    }
    if let Some(secret) = &volume.secret {
        let files = files::of_secret(secret, sources, &format!("{field}.secret"))?;
        return Ok((Source::Files { files, mode: mode(secret.default_mode), secret: true }, true));
    }
    if let Some(host) = &volume.host_path {
        return Ok((Source::Host { path: host.path.clone(), kind: host.type_ }, false));
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        return Ok((Source::Volume { volume: format!("mesh-{}-{}", of.namespace, claim.claim_name), owned: false }, claim.read_only));
    }
    let empty = volume.empty_dir.clone().unwrap_or_default();
    Ok((
        match empty.medium {
            Some(Medium::Memory) => Source::Memory { size: empty.size_limit.as_ref().map(|size| quantity::bytes(&quantity::text(size))) },
            None => Source::Volume { volume: format!("{}-{}-{}", prefix(of), of.instance, volume.name), owned: true },
        },
        false,
    ))
}

fn resources(template: &InstanceTemplate) -> Resources {
    let wanted = template.resources.clone().unwrap_or_default();
    let memory = |list: &Option<ResourceList>| list.as_ref()?.memory.as_ref().map(|memory| quantity::bytes(&quantity::text(memory)));
    let cpu = |list: &Option<ResourceList>| list.as_ref()?.cpu.as_ref().map(|cpu| quantity::milli_cpus(&quantity::text(cpu)));
    Resources {
        memory: memory(&wanted.limits),
        cpu_milli: cpu(&wanted.limits),
        memory_request: memory(&wanted.requests),
        cpu_request_milli: cpu(&wanted.requests),
    }
}

fn security(context: SecurityContext) -> Security {
    let capabilities = context.capabilities.unwrap_or_default();
    Security {
        user: context.run_as_user,
        group: context.run_as_group,
        read_only_root: context.read_only_root_filesystem.unwrap_or(true),
        no_new_privileges: !context.allow_privilege_escalation.unwrap_or(false),
        drop: capabilities.drop.unwrap_or_else(|| vec!["ALL".to_owned()]),
        add: capabilities.add,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{fixture::service, template};

    fn made(spec: Value) -> Result<Container, Missing> {
        let service = service(spec);
        let revision = template::revision(&service);
        let of = Of {
            namespace: "shop",
            service: "web",
            revision: &revision.name,
            instance: "web-b-0",
            part_of: Some("app"),
            ordinal: 0,
            serves: true,
            template: &revision.template,
            service_type: Some(service.spec.type_),
            replicas: Some(service.spec.replicas),
            run: None,
            door: None,
        };
        container(&of, &Sources::default(), Some(20_000))
    }

    #[test]
    fn what_is_left_out_is_the_safer_choice() {
        let web = made(json!({"image": "web:1"})).unwrap();
        assert_eq!((web.name.as_str(), web.network.as_str()), ("mesh-shop-web-b-0", "mesh-shop-app"));
        assert_eq!(web.port, Some(Published { container: 8080, host: 20_000 }));
        assert!(web.security.read_only_root && web.security.no_new_privileges);
        assert_eq!((web.security.drop, web.security.add), (vec!["ALL".to_owned()], vec![]));
    }

    #[test]
    fn a_tag_that_moves_is_pulled_each_time_but_not_what_was_built_here() {
        for (image, policy) in [
            ("web:1", ImagePullPolicy::IfNotPresent),
            ("web", ImagePullPolicy::Always),
            ("quay.io:5000/web", ImagePullPolicy::Always),
            ("web:latest", ImagePullPolicy::Always),
            ("localhost/web:latest", ImagePullPolicy::IfNotPresent),
            ("web@sha256:00", ImagePullPolicy::IfNotPresent),
        ] {
            assert_eq!(made(json!({"image": image})).unwrap().pull, policy, "{image}");
        }
    }

    #[test]
    fn the_environment_ends_with_what_the_mesh_says() {
        let web =
            made(json!({"image": "web:1", "port": 3000, "env": [{"name": "PORT", "value": "1"}, {"name": "URL", "value": "x:$(PORT)"}]}));
        let env = web.unwrap().env;
        let last = |name: &str| env.iter().rfind(|var| var.name == name).map(|var| var.value.reveal().to_owned());
        assert_eq!((last("PORT").as_deref(), last("URL").as_deref()), (Some("3000"), Some("x:1")));
    }

    #[test]
    fn limits_and_names_of_ones_own_are_taken() {
        let web = made(json!({
            "image": "web:1", "podman": {"network": "n", "containerPrefix": "p"},
            "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}},
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "data"}}],
            "volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "/b"}],
        }))
        .unwrap();
        assert_eq!((web.name.as_str(), web.network.as_str()), ("p-web-b-0", "n"));
        assert_eq!((web.resources.cpu_milli, web.resources.memory), (Some(250), Some(64 << 20)));
        let sources: Vec<Source> = web.mounts.into_iter().map(|mount| mount.source).collect();
        let volume = |volume: &str, owned| Source::Volume { volume: volume.to_owned(), owned };
        assert_eq!(sources, [volume("p-web-b-0-a", true), volume("mesh-shop-data", false)]);
    }
}
