//! What several instances share: networks, volumes, images.
use super::{Error, Host, check_image, field, network_online, pull_policy};
use crate::quadlet::{
    keys::{image as image_key, network as network_key, unit as about, volume as volume_key},
    names, templates,
    unit::Unit,
};
use mesh_api::{container::ImagePullPolicy, labels};

/// The file of a network's unit.
pub fn network_file(network: &str) -> String {
    format!("{network}.network")
}

/// The file of a volume's unit.
pub fn volume_file(volume: &str) -> String {
    format!("{volume}.volume")
}

/// The file of an image's unit.
pub fn image_file(image: &str) -> String {
    format!("mesh-{}.image", names::plain(image))
}

/// The unit of a network.
///
/// # Errors
/// The name is none for a network.
pub fn network(network: &str, host: &Host) -> Result<Unit, Error> {
    check("spec.podman.network", network)?;
    let mut unit = templates::network();
    unit.set(about::DESCRIPTION, "spec.podman.network", format!("mesh: network {network}"))?;
    // Without the key, Quadlet calls it systemd-<name>; the instances are told that by their units.
    if host.podman >= network_key::NETWORK_NAME.since() {
        unit.add(network_key::NETWORK_NAME, "spec.podman.network", network)?;
    }
    unit.add(network_key::LABEL, "label", (labels::APP_MANAGED_BY, labels::MANAGER))?;
    Ok(unit)
}

/// The unit of a volume; none for a Podman that would call it something else, where it is made at its first use.
///
/// # Errors
/// The name is none for a volume.
pub fn volume(volume: &str, host: &Host) -> Result<Option<Unit>, Error> {
    check("spec.volumes", volume)?;
    if host.podman < volume_key::VOLUME_NAME.since() {
        return Ok(None);
    }
    let mut unit = templates::volume();
    unit.set(about::DESCRIPTION, "spec.volumes", format!("mesh: volume {volume}"))?;
    unit.add(volume_key::VOLUME_NAME, "spec.volumes", volume)?;
    unit.add(volume_key::LABEL, "label", (labels::APP_MANAGED_BY, labels::MANAGER))?;
    Ok(Some(unit))
}

/// The unit that pulls an image.
///
/// # Errors
/// It is no image, or Podman has no such units.
pub fn image(image: &str, pull: ImagePullPolicy, host: &Host) -> Result<Unit, Error> {
    check_image(image)?;
    // Before Policy=, `podman image pull` asks the registry each time, and has no flag against it.
    let (what, needs) = match pull {
        ImagePullPolicy::Always => ("a unit that pulls an image", image_key::IMAGE.since()),
        ImagePullPolicy::IfNotPresent | ImagePullPolicy::Never => {
            ("a unit that pulls an image only if it is missing", image_key::POLICY.since())
        }
    };
    if host.podman < needs {
        return Err(Error::Version { what: what.to_owned(), needs, has: host.podman });
    }
    let mut unit = templates::image();
    unit.set(about::DESCRIPTION, "spec.image", format!("mesh: image {image}"))?;
    network_online(&mut unit, host)?;
    unit.add(image_key::IMAGE, "spec.image", image)?;
    if host.podman >= image_key::POLICY.since() {
        unit.add(image_key::POLICY, "spec.imagePullPolicy", pull_policy(pull))?;
    }
    Ok(unit)
}

fn check(of: &str, name: &str) -> Result<(), Error> {
    if names::is_plain(name) { Ok(()) } else { field(of, format!("{name:?} is no name for a unit")) }
}
