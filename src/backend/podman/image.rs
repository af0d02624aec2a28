//! Sees to it that a container's image is on the machine, by its policy.
use std::sync::Arc;

use tokio::sync::watch;

use super::{
    Inner,
    refusal::{not_pulled, refused},
};
use crate::{
    Error,
    engine::{
        self,
        images::{Image, auth_for},
    },
    images::{
        self,
        pulls::{Claim, Progress},
    },
};
use mesh_plan::instance::ContainerLaunch;

/// A pull of this backend: what the engine said against it.
type Pulling = Progress<Arc<engine::Error>>;

impl Inner {
    /// The image, on the machine and for it.
    pub(super) async fn image(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<Image, Error> {
        let reference = &launch.container.image;
        let mut found = self.find_image(reference).await?;
        if images::is_pulled(reference, launch.container.pull, found.is_some(), self.engine.program())? {
            self.pull(launch).await?;
            found = self.find_image(reference).await?;
        }
        let image = found.ok_or_else(|| images::vanished(reference))?;
        images::fits(reference, &image.architecture, &self.engine.info().architecture)?;
        Ok(image)
    }

    async fn find_image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let found = self.engine.image(reference).await;
        found.map_err(|error| refused(&self.engine, format!("look at image {reference}"), &error))
    }

    async fn pull(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<(), Error> {
        let reference = &launch.container.image;
        let claim: Claim = (launch.key.uid.clone(), launch.attempt);
        match self.pulls.wait(reference, &claim, |sender| self.begin_pull(launch, sender)).await {
            Progress::Going(progress) => Err(Error::Pulling { image: reference.clone(), progress }),
            Progress::Over(result) => result.map_err(|error| not_pulled(&self.engine, reference, &error)),
        }
    }

    /// Pulls in the background; the engine goes on with it even if we end.
    fn begin_pull(self: &Arc<Self>, launch: &ContainerLaunch, sender: watch::Sender<Pulling>) {
        let (inner, reference) = (Arc::clone(self), launch.container.image.clone());
        let auth = auth_for(&reference, &launch.auth).cloned();
        self.shutdown.spawn_work(async move {
            let pull = inner.engine.pull(&reference, auth.as_ref(), |said| drop(sender.send_replace(Progress::Going(said))));
            let result: Result<(), engine::Error> = tokio::select! {
                () = inner.shutdown.triggered() => return,
                result = pull => result,
            };
            sender.send_replace(Progress::Over(result.map_err(Arc::new)));
        });
    }
}
