//! The durable object store: one redb file, one writer, one index in memory, one bounded ring of events.
//!
//! Owns: revisions (one counter for all objects, assigned inside the commit; after each opening it goes on from the milliseconds since 1970, so that none is given
//! again by a store that was restored or made anew), compare-and-swap, durability, and the events that watches read.
//! Knows of an object only that it is JSON with `metadata.resourceVersion` and `metadata.labels`. Never validates, defaults or selects:
//! its one caller, the `apiserver`, does.
//!
//! A write goes: queue → writer thread → checks against index and batch → one synced transaction for the whole batch → index and ring
//! change under one lock → the writer answers → watchers wake. So an answered write survives `kill -9`, revisions become visible in the order
//! of commit without gaps, and a reader sees a revision only together with everything before it.
//!
//! A disk that fails (full, read-only, broken) refuses writes for as long as it does: the file is opened again from time to time, and must hold
//! what is in memory. If it does not, or is damaged, the store is lost until it is opened anew ([`Store::lost`]).
mod disk;
mod entry;
mod error;
mod lock;
mod metrics;
mod outage;
mod recovered;
mod ring;
mod shared;
mod watcher;
mod writer;

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{oneshot, watch};

use self::{disk::Disk, metrics::StoreMetrics, shared::Shared, writer::Writer};
pub use self::{
    entry::{Entry, Key},
    error::{Error, Expired, WriteError},
    recovered::Recovered,
    ring::Event,
    shared::Listing,
    watcher::Watcher,
};
use mesh_kit::{clock, metrics::Metrics};

/// Sizes, and where the store's metrics go.
#[derive(Debug, Clone)]
pub struct Options {
    /// At most so many events are kept for watches that resume.
    pub ring_events: usize,
    /// At most so many bytes of objects are kept in those events.
    pub ring_bytes: usize,
    /// redb's page cache, in bytes; reads come from the index, so it serves writes only.
    pub cache_bytes: usize,
    /// Where to register; none: nowhere.
    pub metrics: Option<Metrics>,
}

impl Default for Options {
    fn default() -> Self {
        Self { ring_events: 10_000, ring_bytes: 4 << 20, cache_bytes: 2 << 20, metrics: None }
    }
}

/// One write. What it replaces or removes is named by revision, so that a decision made on an old state is never carried out on a new one.
#[derive(Debug)]
pub struct Write {
    /// Which object.
    pub key: Key,
    /// What to do with it.
    pub change: Change,
    /// Another object that must still be at this revision (an object's namespace, say).
    pub guard: Option<(Key, u64)>,
}

/// What a write does. The value's `metadata.resourceVersion` is set by the writer.
#[derive(Debug)]
pub enum Change {
    /// Make it; refused if it is there.
    Create(Value),
    /// Replace it, if it is still at the revision.
    Update {
        /// The revision that the value was computed from.
        expected: u64,
        /// The new object.
        value: Value,
    },
    /// Remove it, if it is still at the revision.
    Delete {
        /// The revision that the decision was made on.
        expected: u64,
        /// Its last state, for the event.
        last: Value,
    },
}

/// A write that was carried out.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object as stored; for a removal its last state at the revision of the removal.
    pub entry: Arc<Entry>,
    /// False if nothing differed: then the revision is the old one and there is no event.
    pub changed: bool,
}

/// The handle. Cheap to clone; the last one to go ends the writer and releases the directory.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

/// Whether the store in a state directory can be read, which is left as it is. One that a controller works on is not looked at.
///
/// # Errors
/// It is damaged, of another version, or cannot be read.
pub fn check(dir: &Path) -> Result<(), Error> {
    let found = disk::check(dir);
    // What is being written may look damaged.
    if matches!(found, Err(Error::Corrupt { .. })) && lock::is_held(dir) { Ok(()) } else { found }
}

impl Store {
    /// Opens the store in a state directory, which is made (0700) if it is not there. Holds the directory's lock until the last handle is dropped.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        Self::open_at(dir, options, clock::now())
    }

    fn open_at(dir: &Path, options: &Options, now: Timestamp) -> Result<Self, Error> {
        let lock = lock::DirLock::acquire(dir)?;
        let first = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Self::start(Disk::open(dir, options.cache_bytes)?, Some(lock), options, first)
    }

    /// A store that forgets everything with its last handle; for tests.
    pub fn memory() -> Result<Self, Error> {
        Self::memory_with(&Options::default())
    }

    /// The same with other sizes.
    pub fn memory_with(options: &Options) -> Result<Self, Error> {
        Self::start(Disk::memory(options.cache_bytes)?, None, options, 0)
    }

    /// Its next revision is the first, or what follows on the last one if that is more.
    fn start(disk: Disk, lock: Option<lock::DirLock>, options: &Options, first: u64) -> Result<Self, Error> {
        let loaded = disk.load()?;
        let shared = Arc::new(Shared::new(loaded, first, options));
        let metrics = StoreMetrics::new(options.metrics.as_ref());
        let writer = Arc::new(Writer::start(disk, lock, Arc::clone(&shared), metrics)?);
        Ok(Self { shared, writer })
    }

    /// Carries out one write; returns after it is synced to disk and visible to every reader.
    pub async fn write(&self, write: Write) -> Result<Written, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.writer.send(write, answer)?;
        answered.await.unwrap_or_else(|_| Err(WriteError::Refused("the store's writer has ended".to_owned())))
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared.get(key)
    }

    /// A resource's objects (of one namespace, or of all), sorted by namespace and name, with the revision they are read at.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Listing {
        self.shared.list(resource, namespace)
    }

    /// Everything, at one revision.
    pub fn list_all(&self) -> Listing {
        self.shared.list_all()
    }

    /// A resource's objects as they were at an earlier revision. `Err` if the ring does not reach back so far.
    pub fn list_at(&self, resource: &str, namespace: Option<&str>, revision: u64) -> Result<Listing, Expired> {
        self.shared.list_at(resource, namespace, revision)
    }

    /// The names of the resources of which something is stored.
    pub fn resources(&self) -> Vec<Arc<str>> {
        self.shared.resources()
    }

    /// Whether a revision may be one of this store's. `Err` if it was jumped over when the store was opened: then one gave it that this one has replaced.
    pub fn check(&self, revision: u64) -> Result<(), Expired> {
        self.shared.check(revision)
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.shared.revision()
    }

    /// The revision of a resource's last change; 0 if there was none since the store was opened.
    pub fn changed(&self, resource: &str) -> u64 {
        self.shared.changed(resource)
    }

    /// The oldest revision that a watch can resume from.
    pub fn oldest(&self) -> u64 {
        self.shared.oldest()
    }

    /// What happens after a revision, as it happens.
    pub fn watch(&self, after: u64) -> Watcher {
        Watcher::new(Arc::clone(&self.shared), after)
    }

    /// Made with the store file and never changed: tells a restored or replaced store from this one.
    pub fn uuid(&self) -> &str {
        self.shared.uuid()
    }

    /// Why writes are refused, if they are. It ends by itself when the disk takes something again.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure()
    }

    /// The last outage that is over; none until there was one.
    pub fn recovered(&self) -> watch::Receiver<Option<Recovered>> {
        self.shared.recovered()
    }

    /// Waits until writes are refused for good, and returns why: only opening the store anew can help, or tells what does.
    pub async fn lost(&self) -> String {
        self.shared.lost().await
    }
}

#[cfg(test)]
mod tests;
