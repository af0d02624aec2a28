//! A container in libpod's own words (its `SpecGenerator`), with only the fields that are used. Pure.
//! Unknown fields are ignored by the engine without a word, so the names here are those of libpod 4.0 to 5.x, and a test shows their effect.
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::create::{Create, Mounted};

/// Of a CPU's time, in microseconds: limits are parts of it.
pub(super) const CPU_PERIOD: u64 = 100_000;

/// What is sent to `containers/create`.
#[derive(Debug, Serialize, PartialEq)]
pub(super) struct Spec {
    name: String,
    image: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_dir: Option<String>,
    env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secret_env: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    stop_timeout: u64,
    restart_policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    no_new_privileges: bool,
    read_only_filesystem: bool,
    netns: Value,
    networks: BTreeMap<String, Value>,
    portmappings: Vec<Value>,
    mounts: Vec<Value>,
    volumes: Vec<Value>,
    resource_limits: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_configuration: Option<Value>,
}

/// Says it in libpod's words.
pub(super) fn spec(create: &Create<'_>) -> Spec {
    let container = create.container;
    Spec {
        name: container.name.clone(),
        image: container.image.clone(),
        // A command takes the place of both of the image's, as in Kubernetes; both engines have it so.
        entrypoint: container.command.clone(),
        command: container.args.clone(),
        work_dir: container.working_dir.clone(),
        env: create.plain_env(),
        secret_env: create.secret_env.clone(),
        labels: create.labels.clone(),
        stop_timeout: container.stop_grace.as_secs(),
        restart_policy: "no",
        user: create.user.clone(),
        cap_add: container.security.add.clone(),
        cap_drop: container.security.drop.clone(),
        no_new_privileges: container.security.no_new_privileges,
        read_only_filesystem: container.security.read_only_root,
        netns: json!({ "nsmode": "bridge" }),
        networks: BTreeMap::from([(container.network.clone(), json!({ "aliases": container.aliases }))]),
        portmappings: container
            .port
            .iter()
            .map(|port| json!({ "host_ip": "127.0.0.1", "host_port": port.host, "container_port": port.container, "protocol": "tcp" }))
            .collect(),
        mounts: create.mounts.iter().filter_map(mount).collect(),
        volumes: create.mounts.iter().filter_map(volume).collect(),
        resource_limits: limits(create),
        // The driver stays the engine's own; one that keeps no files ignores the size.
        log_configuration: create.log_bytes.map(|bytes| json!({ "size": bytes })),
    }
}

fn mount(mounted: &Mounted) -> Option<Value> {
    match mounted {
        Mounted::Bind { source, target, read_only, relabel } => {
            let mut options = vec!["rbind", "rprivate", if *read_only { "ro" } else { "rw" }];
            options.extend(relabel.then_some("z"));
            Some(json!({ "type": "bind", "source": source, "destination": target, "options": options }))
        }
        Mounted::Memory { target, size } => {
            let mut options = vec!["rw".to_owned(), "nosuid".to_owned(), "nodev".to_owned(), "mode=1777".to_owned()];
            options.extend(size.map(|size| format!("size={size}")));
            Some(json!({ "type": "tmpfs", "source": "tmpfs", "destination": target, "options": options }))
        }
        Mounted::Volume { .. } => None,
    }
}

fn volume(mounted: &Mounted) -> Option<Value> {
    let Mounted::Volume { name, target, read_only, own } = mounted else { return None };
    let mut options = vec![if *read_only { "ro" } else { "rw" }];
    if *own {
        // Else it would get what the image has there, and its owner.
        options.extend(["nocopy", "U"]);
    }
    Some(json!({ "Name": name, "Dest": target, "Options": options }))
}

fn limits(create: &Create<'_>) -> Value {
    let wanted = create.container.resources;
    let mut limits = serde_json::Map::new();
    if wanted.memory.is_some() || wanted.memory_request.is_some() {
        limits.insert("memory".to_owned(), json!({ "limit": wanted.memory, "reservation": wanted.memory_request }));
    }
    if wanted.cpu_milli.is_some() || wanted.cpu_request_milli.is_some() {
        let quota = wanted.cpu_milli.map(|milli| milli * CPU_PERIOD / 1000);
        let period = quota.map(|_| CPU_PERIOD);
        limits.insert("cpu".to_owned(), json!({ "quota": quota, "period": period, "shares": wanted.cpu_request_milli.map(shares) }));
    }
    Value::Object(limits)
}

/// As Kubernetes has it: 1024 for a whole CPU, and at least 2.
pub(super) fn shares(milli: u64) -> u64 {
    (milli * 1024 / 1000).max(2)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::engine::docker;
    use mesh_api::container::ImagePullPolicy;
    use mesh_kit::redact::Redacted;
    use mesh_plan::{
        container::{Container, Published, Resources, Security},
        environment::Var,
    };

    fn container() -> Container {
        let var = |name: &str, value: &str, secret| Var { name: name.to_owned(), value: Redacted::new(value), secret };
        Container {
            name: "mesh-shop-web-0".to_owned(),
            image: "web:1".to_owned(),
            pull: ImagePullPolicy::Never,
            command: vec!["/web".to_owned()],
            args: vec!["--fast".to_owned()],
            working_dir: Some("/srv".to_owned()),
            env: vec![var("A", "1", false), var("A", "canary", true), var("B", "canary", true), var("B", "2", false), var("C", "", true)],
            port: Some(Published { container: 8080, host: 20_000 }),
            network: "mesh-shop".to_owned(),
            aliases: vec!["web".to_owned()],
            mounts: vec![],
            resources: Resources { memory: Some(1 << 20), cpu_milli: Some(500), memory_request: None, cpu_request_milli: Some(1) },
            security: Security {
                user: None,
                group: None,
                read_only_root: true,
                no_new_privileges: true,
                drop: vec!["ALL".to_owned()],
                add: vec!["NET_BIND_SERVICE".to_owned()],
            },
            stop_grace: Duration::from_secs(7),
            labels: BTreeMap::new(),
        }
    }

    fn create(container: &Container) -> Create<'_> {
        let mounts = vec![
            Mounted::Bind { source: "/s/files".into(), target: "/etc/web".to_owned(), read_only: true, relabel: true },
            Mounted::Volume { name: "v".to_owned(), target: "/data".to_owned(), read_only: false, own: true },
            Mounted::Memory { target: "/tmp".to_owned(), size: Some(4096) },
        ];
        let secret_env = BTreeMap::from([("A".to_owned(), "mesh-1".to_owned())]);
        Create { container, labels: BTreeMap::new(), mounts, secret_env, user: Some("7:8".to_owned()), log_bytes: Some(100) }
    }

    #[test]
    fn no_secret_value_is_in_what_the_engine_is_told() {
        let container = container();
        let create = create(&container);
        for said in [serde_json::to_string(&spec(&create)).unwrap(), serde_json::to_string(&docker::body(&create, "json-file")).unwrap()] {
            assert!(!said.contains("canary"), "{said}");
        }
        let said = serde_json::to_value(spec(&create)).unwrap();
        assert_eq!((&said["env"], &said["secret_env"]), (&json!({"B": "2", "C": ""}), &json!({"A": "mesh-1"})));
    }

    #[test]
    fn a_container_in_libpods_words() {
        let container = container();
        let said = serde_json::to_value(spec(&create(&container))).unwrap();
        let wanted = json!({
            "name": "mesh-shop-web-0", "image": "web:1", "entrypoint": ["/web"], "command": ["--fast"], "work_dir": "/srv",
            "env": {"B": "2", "C": ""}, "secret_env": {"A": "mesh-1"}, "labels": {}, "stop_timeout": 7, "restart_policy": "no", "user": "7:8",
            "cap_add": ["NET_BIND_SERVICE"], "cap_drop": ["ALL"], "no_new_privileges": true, "read_only_filesystem": true,
            "netns": {"nsmode": "bridge"}, "networks": {"mesh-shop": {"aliases": ["web"]}},
            "portmappings": [{"host_ip": "127.0.0.1", "host_port": 20000, "container_port": 8080, "protocol": "tcp"}],
            "mounts": [
                {"type": "bind", "source": "/s/files", "destination": "/etc/web", "options": ["rbind", "rprivate", "ro", "z"]},
                {"type": "tmpfs", "source": "tmpfs", "destination": "/tmp", "options": ["rw", "nosuid", "nodev", "mode=1777", "size=4096"]},
            ],
            "volumes": [{"Name": "v", "Dest": "/data", "Options": ["rw", "nocopy", "U"]}],
            "resource_limits": {
                "memory": {"limit": 1 << 20, "reservation": null}, "cpu": {"quota": 50_000, "period": 100_000, "shares": 2},
            },
            "log_configuration": {"size": 100},
        });
        assert_eq!(said, wanted);
    }
}
