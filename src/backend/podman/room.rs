//! Makes room for a new container: what a start that was cut off left is removed, the run before is kept under another name.
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Inner, identity::attempt, refusal::refused};
use crate::{
    Error,
    engine::containers::{Status, Summary},
};
use mesh_plan::instance::ContainerLaunch;

/// Behind the name of the container of the run before.
const PREVIOUS: &str = "-previous";
/// So long the engine may take to give back the port and the mounts of a container that has ended.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

impl Inner {
    /// Of the former containers of the instance at most one stays, under the name of the one before. None of them runs: the caller has looked.
    pub(super) async fn make_room(&self, launch: &ContainerLaunch) -> Result<(), Error> {
        let mut former = self.containers_of(&launch.key).await?;
        former.sort_by_key(|it| (it.status != Status::Created, attempt(&it.labels)));
        let last = former.pop_if(|it| it.status != Status::Created);
        for container in former {
            self.remove_container(&container.id, &container.name).await?;
        }
        match last {
            Some(last) => self.set_aside(last, &launch.container.name).await,
            None => Ok(()),
        }
    }

    async fn set_aside(&self, last: Summary, name: &str) -> Result<(), Error> {
        let previous = format!("{name}{PREVIOUS}");
        if last.status.runs() || !self.cleaned_up(&last).await? {
            // The engine does not know that it has ended: it would keep its port and its network for ever.
            return self.remove_container(&last.id, &last.name).await;
        }
        if last.name == previous {
            return Ok(());
        }
        let renamed = self.engine.rename(&last.id, &previous).await;
        renamed.map_err(|error| refused(&self.engine, format!("rename container {} to {previous}", last.name), &error))
    }

    /// Waits until the engine has given back what an ended container had; false if it does not.
    async fn cleaned_up(&self, last: &Summary) -> Result<bool, Error> {
        let give_up = Instant::now() + PATIENCE;
        let mut status = last.status;
        while status == Status::Stopped {
            if Instant::now() > give_up {
                return Ok(false);
            }
            sleep(PAUSE).await;
            let found = self.engine.inspect(&last.id).await;
            let found = found.map_err(|error| refused(&self.engine, format!("look at container {}", last.name), &error))?;
            status = found.map_or(Status::Removing, |found| found.status);
        }
        Ok(status == Status::Exited)
    }
}
