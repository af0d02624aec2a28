//! Removing what is kept of an ended instance: our own files, and what it was the last to need. What others have put there stays.
use std::{fs, path::Path};

use super::{
    Inner,
    bus::{self, Bus},
    files::{self, Freed},
    podman,
    record::Record,
    shown,
    state::Phase,
    system,
};
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
        self.reloads.reload(&self.bus).await?;
        self.index.forget(&self.place, &key.uid)?;
        // Nobody may be reading its log.
        let _ = self.removed.send(key.uid.clone());
        Ok(())
    }

    async fn remove_files(&self, record: &Record) -> Result<(), Error> {
        let _one = self.writing.lock().await;
        let removal = Removal { units: &self.place.units, controller: &self.maker.controller, bus: &self.bus };
        let freed = removal.instance(record).await?;
        if freed.revision {
            let data = self.place.host.data.join(&record.stem);
            match fs::remove_dir_all(&data) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(system("remove", &data)(error)),
                _ => {}
            }
        }
        for path in &freed.shared {
            if let Err(error) = removal.shared(path).await {
                tracing::info!(unit = shown(path), %error, "stays, perhaps because something else uses it; the next removal tries again");
            }
        }
        Ok(())
    }
}

/// Takes away what a controller has made.
pub(super) struct Removal<'a> {
    /// Where units are.
    pub(super) units: &'a Path,
    /// Whose.
    pub(super) controller: &'a str,
    /// The manager that runs them.
    pub(super) bus: &'a Bus,
}

impl Removal<'_> {
    /// Removes the files of an ended instance, its secrets and its volumes; systemd is not told.
    pub(super) async fn instance(&self, record: &Record) -> Result<Freed, Error> {
        let freed = files::remove(self.units, record, self.controller).map_err(system("remove units below", self.units))?;
        self.secrets(record, freed.revision).await?;
        for volume in &record.volumes {
            podman::remove("volume", volume).await?;
        }
        Ok(freed)
    }

    /// The secrets that it was the last to need.
    async fn secrets(&self, record: &Record, revision: bool) -> Result<(), Error> {
        let ours = podman::secrets((labels::CONTROLLER, self.controller)).await?;
        let of =
            |name: &str, stem: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with("-env-") || rest.starts_with("-file-"));
        for name in ours.iter().filter(|name| of(name, &record.container) || (revision && of(name, &record.stem))) {
            podman::remove("secret", name).await?;
        }
        Ok(())
    }

    /// A network that nobody uses goes; a volume keeps its data, only its unit goes.
    pub(super) async fn shared(&self, path: &Path) -> Result<(), Error> {
        let (Some(name), Some(kind)) = (path.file_stem().and_then(|name| name.to_str()), path.extension().and_then(|kind| kind.to_str()))
        else {
            return Ok(());
        };
        if kind == "network"
            && podman::network_labels(name)
                .await?
                .is_some_and(|found| found.get(labels::CONTROLLER).is_some_and(|id| id == self.controller))
        {
            podman::remove("network", name).await?;
        }
        self.bus.stop(&format!("{name}-{kind}.service")).await?;
        files::remove_own(path, self.controller).map_err(system("remove", path))?;
        if let Some(folder) = path.parent()
            && fs::remove_dir(folder).is_ok()
        {
            tracing::debug!(folder = shown(folder), "was the last");
        }
        Ok(())
    }
}
