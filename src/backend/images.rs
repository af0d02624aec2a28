//! What holds for a container's image whichever engine has it: when it is pulled, what is told of a pull, whether it fits the machine, and what
//! mends a refusal. Used by the backends `podman` and `quadlet`.
pub(crate) mod pulls;

use crate::{
    Error,
    engine::images::{go_name, registry},
};
use mesh_api::container::ImagePullPolicy;

/// Whether an image must be pulled. What is called `localhost/…` was built on the machine: no registry has it.
///
/// # Errors
/// It is not here, and must not or cannot be pulled.
pub(crate) fn is_pulled(reference: &str, policy: ImagePullPolicy, is_here: bool, program: &str) -> Result<bool, Error> {
    let built_here = reference.starts_with("localhost/");
    match (policy, is_here) {
        (ImagePullPolicy::Never, false) => Err(Error::ImageNeverPull { image: reference.to_owned() }),
        (ImagePullPolicy::Never | ImagePullPolicy::IfNotPresent, true) => Ok(false),
        (ImagePullPolicy::Always, true) if built_here => Ok(false),
        (ImagePullPolicy::Always | ImagePullPolicy::IfNotPresent, false) if built_here => Err(Error::Image {
            image: reference.to_owned(),
            why: format!(
                "it is not on this machine, and no registry has it: build it ({program} build -t {reference} .), or load it ({program} load -i FILE)"
            ),
        }),
        (ImagePullPolicy::Always, _) | (ImagePullPolicy::IfNotPresent, false) => Ok(true),
    }
}

/// It was pulled, and is not to be found.
pub(crate) fn vanished(reference: &str) -> Error {
    let why = "it was pulled, and is not there any more: something else removes images".to_owned();
    Error::Image { image: reference.to_owned(), why }
}

/// Whether it is for this kind of machine, as far as both say what they are.
///
/// # Errors
/// It is for another one.
pub(crate) fn fits(reference: &str, found: &str, wanted: &str) -> Result<(), Error> {
    let (found, wanted) = (go_name(found), go_name(wanted));
    if found.is_empty() || wanted.is_empty() || found == wanted {
        return Ok(());
    }
    Err(Error::ImageArchitecture { image: reference.to_owned(), found: found.to_owned(), wanted: wanted.to_owned() })
}

/// Why an image was not pulled: what was said, with what to do about it.
pub(crate) fn not_pulled(reference: &str, program: &str, said: &str) -> Error {
    let registry = registry(reference).unwrap_or("docker.io");
    let lower = said.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let remedy = if any(&["unauthorized", "authentication required", "denied", "no basic auth", "forbidden", "403"]) {
        format!(
            "give the user and password of {registry} in a Secret, and name it in spec.imagePullSecrets (kubectl create secret docker-registry …), or check those that are given"
        )
    } else if any(&["short-name", "short name"]) {
        "write the registry before the name, for example docker.io/library/NAME".to_owned()
    } else if any(&["manifest unknown", "name unknown", "not found", "does not exist"]) {
        format!("check the name and the tag at {registry}")
    } else if any(&["no space left on device"]) {
        format!("make room: {program} system prune")
    } else if any(&["x509", "certificate", "http response to https"]) {
        format!(
            "{registry} has no certificate that this machine trusts: add it (containers-certs.d(5)), or allow it without (insecure = true in registries.conf(5))"
        )
    } else if any(&["dial tcp", "no such host", "timeout", "connection refused", "network is unreachable"]) {
        format!("{registry} cannot be reached from this machine: check the name and the network")
    } else {
        format!("try it by hand: {program} pull {reference}")
    };
    Error::Image { image: reference.to_owned(), why: format!("{said}; {remedy}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ImagePullPolicy::{Always, IfNotPresent, Never};

    #[test]
    fn an_image_is_pulled_by_its_policy_and_what_was_built_here_never_is() {
        let pulled = |reference: &str, policy, here| is_pulled(reference, policy, here, "podman").map_err(|error| error.to_string());
        for (policy, here, expected) in
            [(Always, true, true), (Always, false, true), (IfNotPresent, true, false), (IfNotPresent, false, true), (Never, true, false)]
        {
            assert_eq!(pulled("r.io/web:1", policy, here), Ok(expected), "{policy:?} {here}");
        }
        assert!(pulled("r.io/web:1", Never, false).is_err());
        assert_eq!([Always, IfNotPresent, Never].map(|policy| pulled("localhost/web:1", policy, true)), [Ok(false), Ok(false), Ok(false)]);
        for policy in [Always, IfNotPresent] {
            assert!(pulled("localhost/web:1", policy, false).unwrap_err().contains("podman build -t localhost/web:1 ."));
        }
    }

    #[test]
    fn an_image_for_another_machine_is_refused_whatever_the_spelling() {
        assert!(fits("web", "amd64", "x86_64").is_ok() && fits("web", "", "x86_64").is_ok() && fits("web", "arm64", "").is_ok());
        assert!(fits("web", "arm64", "x86_64").is_err());
    }

    #[test]
    fn every_refusal_of_a_registry_names_a_remedy() {
        for (why, expected) in [
            ("reading manifest 9 in r.io/x: manifest unknown", "the tag at r.io"),
            ("requested access to the resource is denied", "imagePullSecrets"),
            ("unauthorized: authentication required", "imagePullSecrets"),
            ("short-name \"web\" did not resolve to an alias", "docker.io/library"),
            ("http: server gave HTTP response to HTTPS client", "registries.conf"),
            ("dial tcp 127.0.0.1:1: connect: connection refused", "cannot be reached"),
            ("write /var: no space left on device", "podman system prune"),
            ("who knows", "podman pull r.io/x:1"),
        ] {
            let told = not_pulled("r.io/x:1", "podman", why).to_string();
            assert!(told.contains(why) && told.contains(expected), "{told}");
        }
    }
}
