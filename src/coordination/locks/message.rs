//! What is said to a key's slot, and what it says is to be done.
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Holding, Key, Loss, Refusal};
use crate::session::{Session, Standing};
use mesh_kit::clock::BootTime;

/// What is known of a key's record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// Whether there is one.
    pub exists: bool,
    /// Of the record, or of its removal.
    pub revision: u64,
    /// How often it changed hands.
    pub transitions: i32,
    /// Changes of it are seen without asking.
    pub watched: bool,
    /// It was made by an agent of ours, so that it may remove it.
    pub ours: bool,
    /// Whose run holds it, if that is an agent's.
    pub agent: Option<String>,
    /// Who holds it.
    pub holding: Option<Holding>,
}

impl Record {
    /// The run that holds it, if one does.
    pub(super) fn session(&self) -> Option<Session> {
        self.holding.as_ref()?.holder.parse().ok()
    }

    /// Which acquisition it is of, however often renewed.
    pub(super) fn acquisition(&self) -> Option<(&str, jiff::Timestamp, i32)> {
        self.holding.as_ref().map(|holding| (holding.holder.as_str(), holding.acquired, self.transitions))
    }
}

/// Who asked, to be answered.
pub(super) type Id = u64;

/// One who wants the key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiter {
    /// To be answered.
    pub id: Id,
    /// For whom.
    pub session: Session,
    /// Its place: who has the lower one is first.
    pub ticket: u64,
    /// How long an acquisition is good for.
    pub ttl: Duration,
    /// When it gives up; none: never.
    pub until: Option<BootTime>,
    /// What it says about it.
    pub metadata: Map<String, Value>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// Somebody wants it.
    Ask(Waiter),
    /// That one does not want it any more.
    Leave(Id),
    /// The holder lives and works on.
    Renew(Id, Session, u64),
    /// The holder gives it back.
    Release(Id, Session, u64),
    /// What stands in the record, seen by a watch; and what is known of its holder.
    Seen(Record, Standing),
    /// What stands there may be another by now.
    Doubt,
    /// The answer to a read.
    Read(Result<Record, Failed>, Standing),
    /// The answer to a write.
    Wrote(Result<Record, Failed>),
    /// A run began or ended.
    Run(Session, Standing),
    /// A time has come.
    Wake,
}

/// Why a read or write came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failed {
    /// Another wrote meanwhile.
    Conflict,
    /// A refusal that does not pass by itself.
    Refused(String),
    /// No answer, or none that says whether it was done.
    Away(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// Read the record.
    Read,
    /// Write it, against this revision; none: there is no record.
    Write(Option<u64>, Change),
    /// Tell one who asked.
    Answer(Id, Result<Done, Refusal>),
    /// Tell whoever follows the acquisition with this fence.
    Lost(u64, Loss),
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is this run's now.
    Take {
        /// Whose.
        session: Session,
        /// For how long after each renewal.
        ttl: Duration,
        /// Of the one who asked, so that it is known again if it did not get the answer.
        ticket: u64,
        /// What it says.
        metadata: Map<String, Value>,
        /// How often it changed hands, with this one.
        transitions: i32,
    },
    /// It is renewed.
    Renew {
        /// Of the acquisition: from now on it is not that of the record's revision.
        fence: u64,
    },
    /// It is nobody's.
    Free,
    /// It has been nobody's for long: the record goes.
    Remove,
    /// It is to be watched.
    Mark,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Done {
    /// It waits, and this many are served before it, itself included.
    Queued(usize),
    /// It holds the key, or holds it on.
    Held(Holding),
    /// It has given it back.
    Released,
}

/// What a watch sees: all there is, and then each change; all again wherever it may have missed one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    /// All there is follows.
    Listing,
    /// One of all.
    Listed(Key, Record),
    /// That was all; what was not listed may be gone.
    AllListed,
    /// One has changed, or was removed.
    Changed(Key, Record),
}
