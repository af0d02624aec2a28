//! What can go wrong: opening the store, writing to it, and asking for what is no longer kept.
use std::{io, path::PathBuf, sync::Arc};

use super::entry::Entry;

/// Why the store could not be opened. The text names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process works on this state directory.
    #[error("state directory {} is in use by process {pid}: stop that one, or choose another --state-dir", dir.display())]
    LockedBy {
        /// The directory.
        dir: PathBuf,
        /// Who holds it; 0 if it does not say.
        pid: u32,
    },
    /// The store file is not what was written. It is left as it is.
    #[error("store file {} is damaged ({reason}): restore a backup of it, or move it away to start empty; what runs then runs on, and is replaced when its services are applied again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The store file that is being written is not at its place any more.
    #[error("store file {} is gone, perhaps with its whole directory: what is stored from now on would be lost with it; put it back, or restore a backup, before the next start, which begins empty otherwise", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// The store file was written by another version of this program.
    #[error("store file {} has format {found}, this program reads {expected}: use the program version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u64,
        /// The format this program knows.
        expected: u64,
    },
    /// The system refused something.
    #[error("{act} {}: {source}", path.display())]
    System {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a write was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Create: it is there already.
    #[error("already exists")]
    Exists(Arc<Entry>),
    /// Update or delete: it is gone, or at another revision than the decision was made on.
    #[error("changed meanwhile")]
    Conflict(Option<Arc<Entry>>),
    /// The guard object changed: read again and decide again.
    #[error("the guard object changed meanwhile")]
    GuardChanged,
    /// The store takes no writes (any more), and why. Reads go on.
    #[error("{0}")]
    Refused(String),
}

/// The revision asked for is older than what is kept, or newer than what there is: then it is of a store that this one has replaced
/// (a restored backup, say), and what happened since is not known by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// What was asked for.
    pub asked: u64,
    /// The oldest that could be.
    pub oldest: u64,
}
