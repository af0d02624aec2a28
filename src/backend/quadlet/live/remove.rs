//! Removing what is kept of an ended instance: our own files, and what it was the last to need. What others have put there stays.
use std::{fs, path::Path};

use super::{Inner, bus, files, podman, record::Record, shown, state::Phase, system};
use crate::Error;
use mesh_api::labels;
use mesh_plan::instance::InstanceKey;

/// How long a wait for an automatic restart may take to be called off.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

impl Inner {
    /// Removes it; refused while it runs.
    pub(super) async fn remove(&self, key: &InstanceKey) -> Result<(), Error> {
        let lock = self.index.lock(&key.uid);
        let _one = lock.lock().await;
        let Some((record, state)) = self.look(&key.uid).await? else { return Ok(()) };
        let unit = record.unit();
        match state.phase() {
            Phase::Starting | Phase::Running | Phase::Stopping => return Err(Error::StillRuns(key.clone())),
            Phase::Idle | Phase::Ended => {}
        }
        if state.waits() {
            let mut jobs = self.jobs.subscribe();
            if let Some(job) = self.bus.stop(&unit).await? {
                bus::end_of(&mut jobs, &job, PATIENCE).await;
            }
        }
        self.bus.reset_failed(&unit).await?;
        self.remove_files(&record).await?;
        for volume in &record.volumes {
            podman::remove("volume", volume).await?;
        }
        self.reloads.reload(&self.bus).await?;
        self.index.forget(&self.place, &key.uid)?;
        // Nobody may be reading its log.
        let _ = self.removed.send(key.uid.clone());
        Ok(())
    }

    async fn remove_files(&self, record: &Record) -> Result<(), Error> {
        let _one = self.writing.lock().await;
        let freed = files::remove(&self.place, record, &self.controller).map_err(system("remove units below", &self.place.units))?;
        self.forget_secrets(record, freed.revision).await?;
        if freed.revision {
            let data = self.place.host.data.join(&record.stem);
            match fs::remove_dir_all(&data) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(system("remove", &data)(error)),
                _ => {}
            }
        }
        for path in &freed.shared {
            self.remove_shared(path).await?;
        }
        Ok(())
    }

    /// A network that nobody uses goes; a volume keeps its data, only its unit goes.
    async fn remove_shared(&self, path: &Path) -> Result<(), Error> {
        let (Some(name), Some(kind)) = (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|kind| kind.to_str()))
        else {
            return Ok(());
        };
        if kind == "network" {
            let ours = podman::network_labels(name).await?.is_some_and(|found| found.get(labels::CONTROLLER) == Some(&self.controller));
            if ours && let Err(error) = podman::remove("network", name).await {
                tracing::info!(network = name, %error, "stays, because something else uses it");
                return Ok(());
            }
        }
        self.bus.stop(&format!("{name}-{kind}.service")).await?;
        files::remove_own(path, &self.controller).map_err(system("remove", path))?;
        if let Some(folder) = path.parent()
            && fs::remove_dir(folder).is_ok()
        {
            tracing::debug!(folder = shown(folder), "was the last");
        }
        Ok(())
    }
}
