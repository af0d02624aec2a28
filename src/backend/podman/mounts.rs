//! What is mounted: files that are written here, volumes of the engine, paths of the machine, memory.
mod files;
pub(crate) mod host;

use std::collections::BTreeMap;

use super::{Inner, adopted::whose, refusal::refused};
use crate::{Error, engine::create::Mounted};
use mesh_plan::{
    container::{Mount, Source},
    instance::{ContainerLaunch, InstanceKey},
};

const WHAT: &str = "volume";

/// What can be written in a container whose root cannot.
const SCRATCH: [&str; 3] = ["/tmp", "/run", "/var/tmp"];

impl Inner {
    /// Sees to it that everything that is mounted is there; `user` is whom the container runs as.
    pub(super) async fn mounts(&self, launch: &ContainerLaunch, user: Option<&str>) -> Result<Vec<Mounted>, Error> {
        let mut mounted = Vec::new();
        for mount in &launch.container.mounts {
            mounted.push(self.mount(launch, mount, user.and_then(numbers)).await?);
        }
        if launch.container.security.read_only_root {
            let taken = |target: &str| launch.container.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target);
            let free = SCRATCH.into_iter().filter(|target| !taken(target));
            mounted.extend(free.map(|target| Mounted::Memory { target: target.to_owned(), size: None }));
        }
        Ok(mounted)
    }

    async fn mount(&self, launch: &ContainerLaunch, mount: &Mount, user: Option<(u32, u32)>) -> Result<Mounted, Error> {
        let (target, read_only) = (mount.target.clone(), mount.read_only);
        match &mount.source {
            Source::Files { files, mode, secret: _ } => {
                let source = files::write(&self.state, &launch.key.uid, &mount.name, files.clone(), *mode).await?;
                Ok(Mounted::Bind { source, target, read_only: true, relabel: self.engine.info().selinux })
            }
            Source::Volume { volume, owned } => {
                let labels = if *owned { self.labels_of(&launch.key) } else { self.labels() };
                self.ensure_volume(&launch.key, volume, &labels, user.filter(|_| *owned)).await?;
                Ok(Mounted::Volume { name: volume.clone(), target, read_only, own: *owned })
            }
            Source::Host { path, kind } => {
                host::check(path, *kind).await?;
                Ok(Mounted::Bind { source: path.into(), target, read_only, relabel: false })
            }
            Source::Controllers { path } => {
                Ok(Mounted::Bind { source: path.into(), target, read_only, relabel: self.engine.info().selinux })
            }
            Source::Memory { size } => Ok(Mounted::Memory { target, size: *size }),
        }
    }

    async fn ensure_volume(
        &self,
        key: &InstanceKey,
        name: &str,
        labels: &BTreeMap<String, String>,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Error> {
        let _alone = self.making.lock().await;
        let found = self.engine.volume(name).await.map_err(|error| refused(&self.engine, format!("look at volume {name}"), &error))?;
        match found {
            None => {
                let made = self.engine.create_volume(name, labels, owner).await;
                made.map_err(|error| refused(&self.engine, format!("make volume {name}"), &error))?;
                self.adopted.made(WHAT, name);
                Ok(())
            }
            Some(found) if self.may_use(key, (WHAT, name), |label| found.get(label)) => Ok(()),
            Some(found) => {
                let remedy = format!(
                    "{}give the volume another name in the spec, or remove it with all that is in it ({} volume rm {name})",
                    whose(|label| found.get(label)),
                    self.engine.program()
                );
                Err(Error::NameTaken { what: WHAT, name: name.to_owned(), remedy })
            }
        }
    }

    /// Removes the volumes and files that go with an instance.
    pub(super) async fn remove_mounts(&self, key: &InstanceKey) -> Result<(), Error> {
        let owned = self.engine.volumes(&self.of_instance(key)).await;
        let owned = owned.map_err(|error| refused(&self.engine, format!("list the volumes of {key}"), &error))?;
        for (volume, _) in owned {
            let removed = self.engine.remove_volume(&volume).await;
            removed.map_err(|error| refused(&self.engine, format!("remove volume {volume}"), &error))?;
        }
        files::remove(&self.state, &key.uid).await
    }
}

/// A user and a group as numbers; the group is root's where none is given, as engines have it. None for names.
fn numbers(user: &str) -> Option<(u32, u32)> {
    let (user, group) = user.split_once(':').unwrap_or((user, "0"));
    Some((user.parse().ok()?, group.parse().ok()?))
}
