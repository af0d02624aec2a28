//! Pods: containers that share one network of their own. What was a container's place on the network becomes the pod's.
use std::collections::BTreeSet;

use super::{Error, Host, Instance, field, network_file};
use crate::quadlet::{
    keys::{container as key, pod as pod_key, unit as about},
    templates,
    unit::{Refused, Unit},
};

/// The file of the pod of a network.
pub fn pod_file(network: &str) -> String {
    format!("{network}.pod")
}

/// The unit of a pod with these instances: on their network, under all their names, with all their ports.
///
/// # Errors
/// Two listen on one port, or the version of Podman has no pods that instances can join.
pub fn pod(network: &str, inside: &[Instance<'_>], host: &Host) -> Result<Unit, Error> {
    if host.podman < key::START_WITH_POD.since() {
        return Err(Error::Version { what: "a pod of instances".to_owned(), needs: key::START_WITH_POD.since(), has: host.podman });
    }
    let mut unit = templates::pod();
    unit.set(about::DESCRIPTION, "the pod", format!("mesh: pod on {network}"))?;
    unit.add(pod_key::POD_NAME, "the pod", format!("{network}-pod"))?;
    unit.add(pod_key::NETWORK, "spec.podman.network", network_file(network))?;
    let mut taken = BTreeSet::new();
    for instance in inside {
        for alias in &instance.container.aliases {
            unit.add(pod_key::NETWORK_ALIAS, "the alias on the network", alias.as_str())?;
        }
        if let Some(port) = instance.container.port {
            if !taken.insert(port.container) {
                return field(
                    "spec.port",
                    format!("{} is another's port in this pod already: give each service its own, or leave --pods out", port.container),
                );
            }
            unit.add(pod_key::PUBLISH_PORT, "spec.port", format!("127.0.0.1:{}:{}", port.host, port.container))?;
        }
    }
    Ok(unit)
}

/// A part of an instance that is in a pod: its place on the network is the pod's.
#[must_use]
pub fn in_pod(part: &Unit) -> Unit {
    part.only(|entry| ![key::NETWORK, key::NETWORK_ALIAS, key::PUBLISH_PORT].contains(&entry.key))
}

/// The template of instances that join a pod.
///
/// # Errors
/// The name is none for a unit.
pub fn joining(template: &Unit, pod: &str) -> Result<Unit, Refused> {
    let mut unit = in_pod(template);
    unit.add(key::POD, "--pods", pod_file(pod))?;
    // The pod would want the bare template, which is no unit; instances are wanted by themselves.
    unit.add(key::START_WITH_POD, "--pods", false)?;
    Ok(unit)
}
