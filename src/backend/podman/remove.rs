//! Removes what is left of an ended instance, and what nobody needs any more after it.
use std::sync::Arc;

use super::{Inner, refusal::refused};
use crate::{Error, engine::containers::Summary};
use mesh_api::labels;
use mesh_plan::instance::{InstanceKey, Observed};

impl Inner {
    /// Refused while it runs; what is not there is as good.
    pub(super) async fn remove(self: &Arc<Self>, key: &InstanceKey) -> Result<(), Error> {
        let slot = self.slots.of(key);
        let mut state = slot.state.lock().await;
        if let Observed::Running(_) = self.look(&slot, &mut state).await? {
            return Err(Error::StillRuns(key.clone()));
        }
        for container in self.containers_of(key).await? {
            self.remove_container(&container.id, &container.name).await?;
        }
        self.remove_mounts(key).await?;
        if let Err(error) = self.tidy().await {
            tracing::warn!(%error, "networks and secrets that nobody needs any more are left for now; the next removal tries again");
        }
        slot.set_removed();
        slot.look_again();
        drop(state);
        self.subscribers.tell(key);
        self.slots.forget(&slot);
        Ok(())
    }

    /// Removes the networks and secrets of ours that no container of ours uses.
    async fn tidy(&self) -> Result<(), Error> {
        let (networks, secrets) = self.unused(&self.ours().await?).await?;
        if networks.is_empty() && secrets.is_empty() {
            return Ok(());
        }
        // No start relies on them from here on; those that did have their container by now.
        let _alone = self.shared.write().await;
        let (networks, secrets) = self.unused(&self.ours().await?).await?;
        for network in networks {
            if let Err(error) = self.engine.remove_network(&network).await {
                // Somebody else's container is on it.
                tracing::debug!(network, %error, "kept");
            }
        }
        for secret in secrets {
            let removed = self.engine.remove_secret(&secret).await;
            removed.map_err(|error| refused(&self.engine, format!("remove secret {secret}"), &error))?;
        }
        Ok(())
    }

    async fn ours(&self) -> Result<Vec<Summary>, Error> {
        let found = self.engine.containers(&[(labels::CONTROLLER, &self.controller)]).await;
        found.map_err(|error| refused(&self.engine, "list containers".to_owned(), &error))
    }

    async fn unused(&self, containers: &[Summary]) -> Result<(Vec<String>, Vec<String>), Error> {
        let all = self.engine.networks(&[(labels::CONTROLLER, &self.controller)]).await;
        let all = all.map_err(|error| refused(&self.engine, "list networks".to_owned(), &error))?;
        let used = |name: &String| containers.iter().any(|it| it.networks.contains(name));
        Ok((all.into_iter().map(|(name, _)| name).filter(|name| !used(name)).collect(), self.unused_secrets(containers).await?))
    }
}
