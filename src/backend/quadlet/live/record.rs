//! What is written down of an instance, so that whoever comes after this process knows which start of it a unit's run is. Holds no secret.
use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use mesh_plan::instance::{Exit, InstanceKey};
use mesh_shim::record as file;

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Which.
    pub(super) key: InstanceKey,
    /// The stem of its revision's units.
    pub(super) stem: String,
    /// Which of its revision.
    pub(super) ordinal: u32,
    /// Its container.
    pub(super) container: String,
    /// Which start of it.
    pub(super) attempt: u32,
    /// Its port on the machine and in the container.
    pub(super) port: Option<(u16, u16)>,
    /// systemd's id of that start; none while it has not come about.
    pub(super) run: Option<String>,
    /// The id that the unit had when that start was asked for.
    pub(super) before: Option<String>,
    /// How often systemd had started it again by itself by then.
    pub(super) restarts: u32,
    /// The boot of the machine in which that was.
    pub(super) boot: String,
    /// When it was started.
    pub(super) since: Option<Timestamp>,
    /// How it ended, once it was seen to have.
    pub(super) ended: Option<Exit>,
    /// How the start before ended, until this one comes about.
    pub(super) last: Option<Exit>,
    /// The image that it was started with, by digest.
    pub(super) image: Option<String>,
    /// Volumes that go with it.
    pub(super) volumes: Vec<String>,
    /// The seconds that it has to end in.
    pub(super) grace: u64,
    /// When it was first started: what is older in the journal is of another one.
    pub(super) made: Timestamp,
}

impl Record {
    /// Of an instance that was not started yet.
    pub(super) fn new(key: InstanceKey, stem: &str, ordinal: u32, container: &str, now: Timestamp) -> Self {
        Self {
            key,
            stem: stem.to_owned(),
            ordinal,
            container: container.to_owned(),
            attempt: 0,
            port: None,
            run: None,
            before: None,
            restarts: 0,
            boot: String::new(),
            since: None,
            ended: None,
            last: None,
            image: None,
            volumes: Vec::new(),
            grace: 0,
            made: now,
        }
    }

    /// The service that systemd runs.
    pub(super) fn unit(&self) -> String {
        crate::quadlet::names::service(&self.stem, self.ordinal)
    }
}

/// Writes it.
pub(super) fn write(dir: &Path, record: &Record) -> io::Result<()> {
    file::write(&dir.join(format!("{}.json", record.key.uid)), record)
}

/// Removes it.
pub(super) fn remove(dir: &Path, uid: &str) -> io::Result<()> {
    file::remove(&dir.join(format!("{uid}.json")))
}

/// All of them. One that cannot be read is as good as none.
pub(super) fn all(dir: &Path) -> io::Result<Vec<Record>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            match file::read::<Record>(&path) {
                Ok(record) => found.extend(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a record cannot be read; its instance is known by its unit only");
                }
            }
        }
    }
    Ok(found)
}
