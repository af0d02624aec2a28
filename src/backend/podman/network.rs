//! The network of an application: made at its first use, ours or refused.
use super::{Inner, adopted::whose, refusal::refused};
use crate::Error;
use mesh_plan::instance::InstanceKey;

const WHAT: &str = "network";

impl Inner {
    /// Sees to it that the network is there and ours.
    pub(super) async fn ensure_network(&self, key: &InstanceKey, name: &str) -> Result<(), Error> {
        let _alone = self.making.lock().await;
        if self.our_network(key, name).await? {
            return Ok(());
        }
        match self.engine.create_network(name, &self.labels()).await {
            Ok(()) => {
                self.adopted.made(WHAT, name);
                Ok(())
            }
            // Somebody else was quicker; it is not ours then.
            Err(error) if error.says("already exists") => self.our_network(key, name).await.map(drop),
            Err(error) => Err(refused(&self.engine, format!("make network {name}"), &error)),
        }
    }

    /// Whether it is there; one that is not ours is an error.
    async fn our_network(&self, key: &InstanceKey, name: &str) -> Result<bool, Error> {
        let found = self.engine.network(name).await.map_err(|error| refused(&self.engine, format!("look at network {name}"), &error))?;
        match found {
            None => Ok(false),
            Some(labels) if self.may_use(key, (WHAT, name), |label| labels.get(label)) => Ok(true),
            Some(labels) => {
                let whose = whose(|label| labels.get(label));
                let remedy =
                    format!("{whose}remove it ({} network rm {name}), or set spec.podman.network to another name", self.engine.program());
                Err(Error::NameTaken { what: WHAT, name: name.to_owned(), remedy })
            }
        }
    }
}
