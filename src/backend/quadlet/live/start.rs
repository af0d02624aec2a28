//! A start: image, files, reload, systemd's job, and what became of it. Once per attempt, however often it is asked for.
mod files_of;
mod inherited;
mod made;
mod secrets;
mod why;

use std::{sync::Arc, time::Duration};

use super::{
    Inner, bus,
    record::Record,
    state::{self, Phase, UnitState},
};
use crate::{Error, podman::mounts::host};
use mesh_kit::clock;
use mesh_plan::{container::Source, instance::ContainerLaunch};

use made::Made;

/// A job that takes longer counts as under way: a look says what became of it.
const PATIENCE: Duration = Duration::from_secs(3);

impl Inner {
    /// Starts it, unless it runs or this attempt was made already.
    pub(super) async fn start(self: &Arc<Self>, mut launch: ContainerLaunch) -> Result<(), Error> {
        let lock = self.index.lock(&launch.key.uid);
        let _one = lock.lock().await;
        let before = self.look(&launch.key.uid).await?;
        if before.as_ref().is_some_and(|(record, state)| is_made(record, state, launch.attempt)) {
            return Ok(());
        }
        files_of::unlabelled(&mut launch);
        let made = Made::new(&self.place, &self.maker, &launch)?;
        if let Some(other) = self.index.other_of(&launch.key.uid, &made.unit) {
            let remedy = format!("it is of instance {other} (uid {}), which is not gone yet; it is tried again", other.uid);
            return Err(Error::NameTaken { what: "unit", name: made.unit, remedy });
        }
        for mount in &launch.container.mounts {
            if let Source::Host { path, kind } = &mount.source {
                host::check(path, *kind).await?;
            }
        }
        let image = self.image(&launch).await?;
        self.prepare(&launch, &made).await?;
        let state = self.loaded(&made).await?;
        let last = before.as_ref().and_then(|(record, _)| record.ended.clone().or_else(|| record.last.clone()));
        let first = before.map_or_else(clock::now, |(record, _)| record.made);
        let record = Record {
            attempt: launch.attempt,
            port: launch.container.port.map(|port| (port.host, port.container)),
            before: Some(state.invocation.clone()).filter(|id| !id.is_empty()),
            boot: self.boot_id.clone(),
            last,
            image: Some(image),
            volumes: made.volumes.clone(),
            grace: launch.container.stop_grace.as_secs(),
            ..Record::new(launch.key.clone(), &made.stem, made.ordinal, &launch.container.name, first)
        };
        self.index.put(&self.place, record.clone())?;
        self.begin(record, &made, &state).await
    }

    /// Has systemd start the unit, and waits for the job a little.
    async fn begin(&self, record: Record, made: &Made, before: &UnitState) -> Result<(), Error> {
        let (mut jobs, asked) = (self.jobs.subscribe(), clock::now());
        let job = self.bus.start(&made.unit, before.waits()).await?;
        let end = bus::end_of(&mut jobs, &job, PATIENCE).await;
        let state = self.bus.state(&made.unit).await?;
        let runs = matches!(state.phase(), Phase::Running | Phase::Starting | Phase::Stopping);
        if !runs && end.as_deref().is_some_and(|end| end != "done") {
            let dependency = end.as_deref() == Some("dependency");
            if let Some(error) = why::why(self.place.manager, made, dependency, asked).await {
                self.give_up(record, &made.unit).await?;
                return Err(error);
            }
        }
        // A program that ended at once ran all the same.
        let record = state::seen(&record, &state, &self.boot_id, clock::now());
        self.index.put(&self.place, record)
    }

    /// After a start that did not come about: systemd does not try on its own, because the cause lies before the program.
    async fn give_up(&self, record: Record, unit: &str) -> Result<(), Error> {
        let mut jobs = self.jobs.subscribe();
        if let Some(job) = self.bus.stop(unit).await? {
            bus::end_of(&mut jobs, &job, PATIENCE).await;
        }
        let state = self.bus.state(unit).await?;
        self.index.put(&self.place, Record { before: Some(state.invocation).filter(|id| !id.is_empty()), ..record })
    }
}

/// Whether there is nothing to do.
fn is_made(record: &Record, state: &UnitState, attempt: u32) -> bool {
    match state.phase() {
        Phase::Starting | Phase::Running | Phase::Stopping => true,
        Phase::Idle | Phase::Ended => record.run.is_some() && record.attempt >= attempt,
    }
}
