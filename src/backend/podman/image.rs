//! Sees to it that a container's image is on the machine, by its policy.
use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    Inner,
    pulls::{Claim, Progress},
    refusal::{not_pulled, refused},
};
use crate::{
    Error,
    engine::{
        self,
        images::{Image, auth_for, go_name},
    },
};
use mesh_api::container::ImagePullPolicy;
use mesh_plan::instance::ContainerLaunch;

/// So long a start waits for a pull before it says that it is under way.
const PATIENCE: Duration = Duration::from_secs(2);

impl Inner {
    /// The image, on the machine and for it.
    pub(super) async fn image(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<Image, Error> {
        let (reference, policy) = (&launch.container.image, launch.container.pull);
        let built_here = reference.starts_with("localhost/");
        let found = if policy == ImagePullPolicy::Always && !built_here { None } else { self.find_image(reference).await? };
        let image = match (found, policy) {
            (Some(image), ImagePullPolicy::IfNotPresent | ImagePullPolicy::Never) => image,
            (None, ImagePullPolicy::Never) => return Err(Error::ImageNeverPull { image: reference.clone() }),
            (None, _) if built_here => return Err(not_built(reference, self.engine.program())),
            (_, ImagePullPolicy::Always | ImagePullPolicy::IfNotPresent) => {
                self.pull(launch).await?;
                let pulled = self.find_image(reference).await?;
                let why = || "it was pulled, and is not there any more: something else removes images".to_owned();
                pulled.ok_or_else(|| Error::Image { image: reference.clone(), why: why() })?
            }
        };
        let (found, wanted) = (go_name(&image.architecture), self.engine.info().architecture.as_str());
        if found.is_empty() || wanted.is_empty() || found == wanted {
            return Ok(image);
        }
        Err(Error::ImageArchitecture { image: reference.clone(), found: found.to_owned(), wanted: wanted.to_owned() })
    }

    async fn find_image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let found = self.engine.image(reference).await;
        found.map_err(|error| refused(&self.engine, format!("look at image {reference}"), &error))
    }

    async fn pull(self: &Arc<Self>, launch: &ContainerLaunch) -> Result<(), Error> {
        let reference = &launch.container.image;
        let claim: Claim = (launch.key.uid.clone(), launch.attempt);
        let mut progress = self.pulls.join(reference, &claim, |sender| self.begin_pull(launch, sender));
        let over = |progress: &Progress| matches!(progress, Progress::Over(_));
        // Not over in time, or cut off by the end of this process: then it counts as going on.
        let _ = timeout(PATIENCE, progress.wait_for(over)).await;
        let outcome = progress.borrow().clone();
        match outcome {
            Progress::Going(progress) => Err(Error::Pulling { image: reference.clone(), progress }),
            Progress::Over(result) => {
                self.pulls.leave(reference, &claim);
                result.map_err(|error| not_pulled(&self.engine, reference, &error))
            }
        }
    }

    /// Pulls in the background; the engine goes on with it even if we end.
    fn begin_pull(self: &Arc<Self>, launch: &ContainerLaunch, sender: watch::Sender<Progress>) {
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

/// What is named so was built on the machine; no registry has it.
fn not_built(reference: &str, program: &str) -> Error {
    let why = format!(
        "it is not on this machine, and no registry has it: build it ({program} build -t {reference} .), or load it ({program} load -i FILE)"
    );
    Error::Image { image: reference.to_owned(), why }
}
