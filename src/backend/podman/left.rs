//! What controllers have made in an engine, whoever they are; and the removal of what nobody owns any more. Units of systemd are not looked for here.
use std::{collections::BTreeMap, fmt};

use super::identity::maker_is_gone;
use crate::engine::{Engine, error::Error};
use mesh_api::labels;

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A unit of systemd, with its container.
    Unit,
    /// A container, whatever it does.
    Container,
    /// A network.
    Network,
    /// A secret of the engine.
    Secret,
    /// A volume, with data.
    Volume,
}

/// Something that carries a controller's labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Made {
    /// What it is.
    pub what: What,
    /// Its name.
    pub name: String,
    /// The id of the controller that made it.
    pub controller: String,
    /// That controller's state directory was of this machine, and is gone or another's.
    pub gone: bool,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Network => "network",
            Self::Secret => "secret",
            Self::Volume => "volume",
        })
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.name)
    }
}

/// Everything that any controller has made, in the order in which it can be removed; without containers of units, which go with those. That of the
/// controller of `own` is never gone.
///
/// # Errors
/// The engine does not tell.
pub async fn made(engine: &Engine, own: &str) -> Result<Vec<Made>, Error> {
    let ours = [(labels::APP_MANAGED_BY, labels::MANAGER)];
    let mut all = Vec::new();
    let mut take = |what, name: String, labels: BTreeMap<String, String>| {
        if let Some(controller) =
            labels.get(labels::CONTROLLER).filter(|_| labels.get(labels::APP_MANAGED_BY).is_some_and(|by| by == labels::MANAGER))
        {
            all.push(Made {
                what,
                name,
                controller: controller.clone(),
                gone: controller != own && maker_is_gone(|label| labels.get(label)),
            });
        }
    };
    for found in engine.containers(&ours).await?.into_iter().filter(|found| !found.labels.contains_key(labels::SYSTEMD_UNIT)) {
        take(What::Container, found.name, found.labels);
    }
    for (name, labels) in engine.networks(&ours).await? {
        take(What::Network, name, labels.into_iter().collect());
    }
    if engine.masks_secret_env() {
        for (name, labels) in engine.secrets().await? {
            take(What::Secret, name, labels);
        }
    }
    for (name, labels) in engine.volumes(&ours).await? {
        take(What::Volume, name, labels.into_iter().collect());
    }
    all.sort();
    Ok(all)
}

impl Made {
    /// Removes it from the engine; a running container is killed. A unit is not the engine's.
    ///
    /// # Errors
    /// The engine refuses: somebody uses it, for example.
    pub async fn remove(&self, engine: &Engine) -> Result<(), Error> {
        match self.what {
            What::Unit => Ok(()),
            What::Container => engine.remove(&self.name).await,
            What::Network => engine.remove_network(&self.name).await,
            What::Secret => engine.remove_secret(&self.name).await,
            What::Volume => engine.remove_volume(&self.name).await,
        }
    }
}
