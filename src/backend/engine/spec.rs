//! A container in libpod's own words (its `SpecGenerator`), with only the fields that are used. Pure.
//! Unknown fields are ignored by the engine without a word, so the names here are those of libpod 4.0 to 5.x, and a test shows their effect.
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::containers::{Create, Mounted};

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
