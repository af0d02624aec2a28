//! What a start uses that an earlier state directory at the same place has left: noted, to be told.
use crate::{
    Error,
    quadlet::live::{Inner, podman},
};
use mesh_api::labels;
use mesh_plan::{container::Source, instance::ContainerLaunch};

impl Inner {
    /// Looks at the network, and at the volumes that outlive services, before Podman makes those that are not there.
    pub(super) async fn note_inherited(&self, launch: &ContainerLaunch) -> Result<(), Error> {
        if !self.adopted.inherited {
            return Ok(());
        }
        let network = &launch.container.network;
        let mut used = vec![("network", network, podman::network_labels(network).await?)];
        for mount in &launch.container.mounts {
            if let Source::Volume { volume, owned: false } = &mount.source {
                used.push(("volume", volume, podman::volume_labels(volume).await?));
            }
        }
        for (what, name, found) in used {
            match found {
                None => self.adopted.made(what, name),
                Some(found) if found.get(labels::CONTROLLER) == Some(&self.maker.controller) => self.adopted.note(&launch.key, what, name),
                Some(_) => {}
            }
        }
        Ok(())
    }
}
