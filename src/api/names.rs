//! How objects that the controllers make are named. Names are deterministic: a stale cache cannot make a second copy, because the create conflicts.
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What the port that requests go to is called: in a pod, in its Service, in an `EndpointSlice`.
pub const PORT_NAME: &str = "http";
/// What the container of the service itself is called in its pods.
pub const CONTAINER: &str = "app";
/// Whom the tokens are for by which pods show the agent who they are: their audience.
pub const AUDIENCE: &str = "mesh-controller.dev";

/// The longest name of a `MeshService`: an instance's name, which adds a revision and an ordinal, is still a DNS label.
pub const MAX_SERVICE_NAME: usize = 48;

/// The name of an instance: `<service>-<revision>-<ordinal>`.
pub fn instance(service: &str, revision: &str, ordinal: u32) -> String {
    format!("{service}-{revision}-{ordinal}")
}

/// The service that an instance of this name is of.
pub fn service_of(instance: &str) -> Option<&str> {
    let (service, ordinal) = instance.rsplit_once('-')?;
    let (service, revision) = service.rsplit_once('-')?;
    let is_revision = revision.len() == 8 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_revision && ordinal.parse::<u32>().is_ok()).then_some(service)
}

/// The longest name that a DNS label (RFC 1123) has room for.
const LABEL: usize = 63;

/// The name of a run of a task: `<task>-<which>`, which ends in a number, as the name of every instance does. Where that is too long, the end of the task's name is left away for eight digits of its SHA-256.
pub fn run(task: &str, which: &str) -> String {
    let name = format!("{task}-{which}");
    if name.len() <= LABEL {
        return name;
    }
    let tail = format!("-{}-{which}", hex(task.as_bytes(), 4));
    let head: String = task.chars().take(LABEL.saturating_sub(tail.len())).collect();
    format!("{}{tail}", head.trim_end_matches(['-', '.']))
}

/// The name of the `ControllerRevision` that holds a revision's template.
pub fn controller_revision(service: &str, revision: &str) -> String {
    format!("{service}-{revision}")
}

/// The name of the one `EndpointSlice` of a service.
pub fn endpoint_slice(service: &str) -> String {
    format!("{service}-mesh")
}

/// Lower-case letters, digits and dashes, of which none is at an end: a DNS label (RFC 1123), but for its length.
fn is_dashed(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [name.bytes().next(), name.bytes().next_back()];
    ends.into_iter().all(|end| end.is_some_and(plain)) && name.bytes().all(|byte| plain(byte) || byte == b'-')
}

/// Whether most kinds of objects may be called so: a DNS subdomain of 253 characters at the most. Like Kubernetes it bounds the whole, and not each label.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dashed)
}

/// The name of an object that is kept for something with any name: `<prefix>-<name>` where that is a DNS label, else what is left of it with its hash.
pub fn derived(prefix: &str, name: &str) -> String {
    let hashed = name.rsplit_once('-').is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !hashed && prefix.len() + 1 + name.len() <= 63 && is_dashed(name) {
        return format!("{prefix}-{name}");
    }
    let kept: String = name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(32).collect();
    let kept = kept.trim_matches('-');
    let separator = if kept.is_empty() { "" } else { "-" };
    format!("{prefix}-{kept}{separator}{}", hex(name.as_bytes(), 8))
}

/// A revision: the first eight hexadecimal digits of the SHA-256 of what it is made of.
pub fn revision(template: &[u8]) -> String {
    hex(template, 4)
}

/// A number that stands for something with any name: the first 32 bits of its SHA-256.
pub fn number(of: &[u8]) -> u32 {
    Sha256::digest(of).first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// So many bytes of its SHA-256, as hexadecimal digits.
fn hex(of: &[u8], bytes: usize) -> String {
    Sha256::digest(of).iter().take(bytes).fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdomain_is_what_kubernetes_takes_for_one() {
        for name in ["a", "vm-1", "vm1.example.org", "0", "a--b", &"x".repeat(100), &"x".repeat(253)] {
            assert!(is_subdomain(name), "{name:?}");
        }
        for name in ["", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "A", "a_b", "ö", "a b", &"x".repeat(254)] {
            assert!(!is_subdomain(name), "{name:?}");
        }
    }

    #[test]
    fn an_instance_says_whose_it_is_by_its_name() {
        assert_eq!(service_of(&instance("my-web", "0a1b2c3d", 12)), Some("my-web"));
        assert_eq!([service_of("web"), service_of("web-1"), service_of("a-b-c"), service_of("my-backup-1795873080")], [None; 4]);
    }
}
