//! Secrets of the engine: made before the start, by standard input.
use crate::{
    Error,
    quadlet::{
        live::{Inner, podman},
        render::EngineSecret,
    },
};
use mesh_api::labels;

impl Inner {
    /// Gives the engine the values.
    pub(super) async fn secrets(&self, secrets: &[EngineSecret]) -> Result<(), Error> {
        let label = format!("{}={}", labels::CONTROLLER, self.maker.controller);
        for secret in secrets {
            let there = podman::secret_labels(&secret.name).await?;
            if there.is_some_and(|labels| labels.get(labels::CONTROLLER).is_none_or(|id| *id != self.maker.controller)) {
                let remedy = format!("remove it (podman secret rm {})", secret.name);
                return Err(Error::NameTaken { what: "secret", name: secret.name.clone(), remedy });
            }
            podman::put_secret(&secret.name, &label, secret.reveal()).await?;
        }
        Ok(())
    }
}
