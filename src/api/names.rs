//! How objects that the controllers make are named. Names are deterministic: a stale cache cannot make a second copy, because the create conflicts.
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What the port that requests go to is called: in a pod, in its Service, in an `EndpointSlice`.
pub const PORT_NAME: &str = "http";
/// What the container of the service itself is called in its pods.
pub const CONTAINER: &str = "app";

/// The longest name of a `MeshService`: an instance's name, which adds a revision and an ordinal, is still a DNS label.
pub const MAX_SERVICE_NAME: usize = 48;

/// The name of an instance: `<service>-<revision>-<ordinal>`.
pub fn instance(service: &str, revision: &str, ordinal: u32) -> String {
    format!("{service}-{revision}-{ordinal}")
}

/// The service that an instance of this name is of.
pub fn service_of(instance: &str) -> Option<&str> {
    let (service, ordinal) = instance.rsplit_once('-')?;
    let (service, _revision) = service.rsplit_once('-')?;
    ordinal.parse::<u32>().is_ok().then_some(service)
}

/// The name of the `ControllerRevision` that holds a revision's template.
pub fn controller_revision(service: &str, revision: &str) -> String {
    format!("{service}-{revision}")
}

/// The name of the one `EndpointSlice` of a service.
pub fn endpoint_slice(service: &str) -> String {
    format!("{service}-mesh")
}

/// A revision: the first eight hexadecimal digits of the SHA-256 of what it is made of.
pub fn revision(template: &[u8]) -> String {
    let mut name = String::with_capacity(8);
    for byte in Sha256::digest(template).iter().take(4) {
        // Writing into a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_says_whose_it_is_by_its_name() {
        assert_eq!(service_of(&instance("my-web", "0a1b2c3d", 12)), Some("my-web"));
        assert_eq!([service_of("web"), service_of("web-1"), service_of("a-b-c")], [None, None, None]);
    }
}
