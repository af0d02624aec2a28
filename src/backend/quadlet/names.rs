//! What units, folders and engine objects are called. Two different services never share a name: the dot between namespace and service stands in neither.
use sha2::{Digest, Sha256};

/// The folder of a service's units: `mesh-shop.api`.
pub fn folder(namespace: &str, service: &str) -> String {
    format!("mesh-{namespace}.{service}")
}

/// The folder of what the services of a namespace share.
pub fn shared_folder(namespace: &str) -> String {
    format!("mesh-{namespace}")
}

/// The stem of a revision's units: `mesh-shop.api-7f3c0a12`.
pub fn stem(namespace: &str, service: &str, revision: &str) -> String {
    format!("mesh-{namespace}.{service}-{revision}")
}

/// The template unit's file of a revision, or the file of one of its instances: `mesh-shop.api-7f3c0a12@0.container`.
pub fn file(stem: &str, ordinal: Option<u32>, suffix: &str) -> String {
    match ordinal {
        Some(ordinal) => format!("{stem}@{ordinal}.{suffix}"),
        None => format!("{stem}@.{suffix}"),
    }
}

/// The service that systemd runs for an instance.
pub fn service(stem: &str, ordinal: u32) -> String {
    file(stem, Some(ordinal), "service")
}

/// The stem of the units of a task that systemd runs without a controller. It is the same whatever the task becomes: systemd remembers by the
/// timer's name when it ran last. No revision's stem is such: behind its service stands a '-' and the revision, and behind that an '@'.
pub fn task(namespace: &str, task: &str) -> String {
    folder(namespace, task)
}

/// The name of the drop-in that says what differs in an instance. Users' drop-ins of other names are theirs.
pub const DROP_IN: &str = "10-mesh.conf";

/// Whether an engine takes it as the name of a container, network, volume or secret, and a unit file may be called so.
pub fn is_plain(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && name.len() <= 200 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// A plain name for any text: itself, or the first digits of its hash.
pub fn plain(text: &str) -> String {
    if is_plain(text) && text.len() <= 100 {
        return text.to_owned();
    }
    let mut digits = super::header::hex(&Sha256::digest(text.as_bytes()));
    digits.truncate(12);
    digits
}
