//! Secrets of the engine: made before the start, by standard input; removed with the last instance that names them.
use crate::{
    Error,
    quadlet::{
        live::{Inner, podman, record::Record},
        render::EngineSecret,
    },
};
use mesh_api::labels;

impl Inner {
    /// Gives the engine the values.
    pub(super) async fn secrets(&self, secrets: &[EngineSecret]) -> Result<(), Error> {
        let label = format!("{}={}", labels::CONTROLLER, self.controller);
        for secret in secrets {
            let there = podman::secret_labels(&secret.name).await?;
            if there.is_some_and(|labels| labels.get(labels::CONTROLLER).is_none_or(|id| *id != self.controller)) {
                let remedy = format!("remove it (podman secret rm {})", secret.name);
                return Err(Error::NameTaken { what: "secret", name: secret.name.clone(), remedy });
            }
            podman::put_secret(&secret.name, &label, secret.reveal()).await?;
        }
        Ok(())
    }

    /// Takes back what an instance was the last to need.
    pub(in crate::quadlet::live) async fn forget_secrets(&self, record: &Record, revision: bool) -> Result<(), Error> {
        let ours = podman::secrets((labels::CONTROLLER, &self.controller)).await?;
        let of =
            |name: &str, stem: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with("-env-") || rest.starts_with("-file-"));
        for name in ours.iter().filter(|name| of(name, &record.container) || (revision && of(name, &record.stem))) {
            podman::remove("secret", name).await?;
        }
        Ok(())
    }
}
