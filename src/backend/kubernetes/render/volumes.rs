//! What is mounted, and from where.
use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
        SecretVolumeSource, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use mesh_api::{
    container::{self, HostPathType, Medium},
    instance::InstanceTemplate,
};
use mesh_plan::{quantity, validate::SCRATCH};

/// The volumes of the service, then those that its container writes to where its root cannot be written.
pub(super) fn volumes(template: &InstanceTemplate) -> Vec<Volume> {
    template.volumes.iter().map(volume).chain(scratch(template).map(|(name, _)| memory(name))).collect()
}

/// Where the service's container has them.
pub(super) fn mounts(template: &InstanceTemplate) -> Vec<VolumeMount> {
    let own = template.volume_mounts.iter().map(|mount| VolumeMount {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.then_some(true),
        ..VolumeMount::default()
    });
    own.chain(scratch(template).map(|(name, path)| mount(name, path))).collect()
}

/// A mount that can be written.
pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

/// An empty directory in memory.
pub(super) fn memory(name: &str) -> Volume {
    let source = EmptyDirVolumeSource { medium: Some("Memory".to_owned()), ..EmptyDirVolumeSource::default() };
    Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() }
}

/// `/tmp`, `/run` and `/var/tmp`, as Podman has them beside a root that cannot be written; not where the service mounts something itself.
fn scratch(template: &InstanceTemplate) -> impl Iterator<Item = (&'static str, &'static str)> {
    let writable = template.security_context.as_ref().and_then(|own| own.read_only_root_filesystem) == Some(false);
    let taken = |path: &str| template.volume_mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path);
    SCRATCH.into_iter().filter(move |(_, path)| !writable && !taken(path))
}

fn volume(volume: &container::Volume) -> Volume {
    let container::Volume { name, config_map, secret, empty_dir, host_path, persistent_volume_claim } = volume.clone();
    Volume {
        name,
        config_map: config_map.map(|map| ConfigMapVolumeSource {
            name: map.name,
            items: items(map.items),
            optional: map.optional.then_some(true),
            default_mode: Some(map.default_mode.unwrap_or(0o644)),
            ..ConfigMapVolumeSource::default()
        }),
        secret: secret.map(|secret| SecretVolumeSource {
            secret_name: Some(secret.secret_name),
            items: items(secret.items),
            optional: secret.optional.then_some(true),
            default_mode: Some(secret.default_mode.unwrap_or(0o644)),
            ..SecretVolumeSource::default()
        }),
        empty_dir: empty_dir.map(|empty| EmptyDirVolumeSource {
            medium: empty.medium.map(|Medium::Memory| "Memory".to_owned()),
            size_limit: empty.size_limit.as_ref().map(amount),
            ..EmptyDirVolumeSource::default()
        }),
        host_path: host_path.map(|host| HostPathVolumeSource { path: host.path, type_: host.type_.map(host_path_type) }),
        persistent_volume_claim: persistent_volume_claim
            .map(|claim| PersistentVolumeClaimVolumeSource { claim_name: claim.claim_name, read_only: claim.read_only.then_some(true) }),
        ..Volume::default()
    }
}

fn items(items: Vec<container::KeyToPath>) -> Option<Vec<KeyToPath>> {
    super::some(items.into_iter().map(|container::KeyToPath { key, path }| KeyToPath { key, path, ..KeyToPath::default() }).collect())
}

fn host_path_type(kind: HostPathType) -> String {
    match kind {
        HostPathType::DirectoryOrCreate => "DirectoryOrCreate",
        HostPathType::Directory => "Directory",
        HostPathType::File => "File",
    }
    .to_owned()
}

/// A quantity as the API server writes it back.
pub(super) fn amount(value: &IntOrString) -> Quantity {
    let text = quantity::text(value);
    Quantity(quantity::canonical(&text).unwrap_or(text))
}
