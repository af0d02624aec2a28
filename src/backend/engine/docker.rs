//! The same container in Docker's words. Pure.
use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions, MountType, MountVolumeOptions,
    NetworkingConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};

use super::{
    create::{Create, Mounted},
    spec::shares,
};

/// The log drivers of Docker that take a size.
const SIZED: [&str; 2] = ["json-file", "local"];

/// Says it in Docker's words. Secret variables are none of them: Docker would show their values.
pub(super) fn body(create: &Create<'_>, log_driver: &str) -> ContainerCreateBody {
    let container = create.container;
    let port = |port: u16| format!("{port}/tcp");
    let endpoint = EndpointSettings { aliases: Some(container.aliases.clone()), ..EndpointSettings::default() };
    ContainerCreateBody {
        image: Some(container.image.clone()),
        // A command takes the place of both of the image's, as in Kubernetes; both engines have it so.
        entrypoint: (!container.command.is_empty()).then(|| container.command.clone()),
        cmd: (!container.args.is_empty()).then(|| container.args.clone()),
        working_dir: container.working_dir.clone(),
        env: Some(create.plain_env().into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(create.labels.clone().into_iter().collect()),
        stop_timeout: i64::try_from(container.stop_grace.as_secs()).ok(),
        user: create.user.clone(),
        exposed_ports: container.port.map(|it| vec![port(it.container)]),
        host_config: Some(HostConfig { port_bindings: bindings(create, port), ..host_config(create, log_driver) }),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(container.network.clone(), endpoint)])) }),
        ..ContainerCreateBody::default()
    }
}

fn bindings(create: &Create<'_>, name: impl Fn(u16) -> String) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
    let port = create.container.port?;
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(port.host.to_string()) };
    Some(HashMap::from([(name(port.container), Some(vec![binding]))]))
}

fn host_config(create: &Create<'_>, log_driver: &str) -> HostConfig {
    let container = create.container;
    let number = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
    HostConfig {
        network_mode: Some(container.network.clone()),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        memory: number(container.resources.memory),
        memory_reservation: number(container.resources.memory_request),
        nano_cpus: number(container.resources.cpu_milli.map(|milli| milli * 1_000_000)),
        cpu_shares: number(container.resources.cpu_request_milli.map(shares)),
        cap_add: Some(container.security.add.clone()),
        cap_drop: Some(container.security.drop.clone()),
        security_opt: container.security.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(container.security.read_only_root),
        mounts: Some(create.mounts.iter().filter_map(mount).collect()),
        tmpfs: Some(create.mounts.iter().filter_map(tmpfs).collect()),
        log_config: create.log_bytes.filter(|_| SIZED.contains(&log_driver)).map(|bytes| HostConfigLogConfig {
            typ: Some(log_driver.to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), bytes.to_string())])),
        }),
        ..HostConfig::default()
    }
}

fn mount(mounted: &Mounted) -> Option<Mount> {
    let (typ, source, target, read_only, volume_options) = match mounted {
        Mounted::Bind { source, target, read_only, .. } => {
            (MountType::BIND, source.to_string_lossy().into_owned(), target, read_only, None)
        }
        Mounted::Volume { name, target, read_only, own } => {
            let options = MountVolumeOptions { no_copy: Some(*own), ..MountVolumeOptions::default() };
            (MountType::VOLUME, name.clone(), target, read_only, Some(options))
        }
        Mounted::Memory { .. } => return None,
    };
    Some(Mount {
        typ: Some(typ),
        source: Some(source),
        target: Some(target.clone()),
        read_only: Some(*read_only),
        volume_options,
        tmpfs_options: None::<MountTmpfsOptions>,
        ..Mount::default()
    })
}

fn tmpfs(mounted: &Mounted) -> Option<(String, String)> {
    let Mounted::Memory { target, size } = mounted else { return None };
    let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
    Some((target.clone(), format!("rw,nosuid,nodev,mode=1777{size}")))
}
