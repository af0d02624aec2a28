//! Locks and leaders of programs: a key that one of them holds at a time, kept as a Lease or in a Redis. Whoever holds it has a *fence*, a number that grows with every
//! acquisition of the key, and that a store which it writes to can check: a holder may be stopped for longer than its lock lasts, and not know it.
//!
//! [`slot`] decides, one key at a time, with values only; [`lease`] and [`redis`] say how it is written down; [`keep`] carries it out.
mod ask;
mod calls;
mod keeper;
pub mod lease;
mod message;
mod metrics;
pub mod redis;
mod slot;
mod store;
mod tenure;

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use self::{
    ask::{Ask, Following, Locks, News, Observing, Waiting},
    keeper::{Options, keep},
    message::Record,
    metrics::LockMetrics,
    store::Store,
    tenure::notice,
};
use crate::session::Session;

/// The shortest time that a lock may be good for.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// The longest, and the longest that is waited for one.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest key, in bytes.
pub const MAX_KEY: usize = 512;
/// The most bytes of metadata, as JSON.
pub const MAX_METADATA: usize = 4096;
/// So many may wait for one key.
pub const MAX_WAITERS: usize = 1000;

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Only one does something.
    Lock,
    /// One of a group leads.
    Leader,
}

impl Kind {
    /// As the value of the label on its Lease.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Leader => "leader",
        }
    }

    /// What its name is called where it is asked for and shown.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Lock => "key",
            Self::Leader => "group",
        }
    }

    /// One of them, in words.
    pub fn named(self, name: &str) -> String {
        match self {
            Self::Lock => format!("lock {name:?}"),
            Self::Leader => format!("the lead of group {name:?}"),
        }
    }
}

/// What is wrong with a key or the name of a group; none if nothing is.
pub fn wrong_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty".to_owned());
    }
    if name.len() > MAX_KEY {
        return Some(format!("it has {} bytes", name.len()));
    }
    name.chars().find(|c| c.is_control()).map(|control| format!("it has the control character U+{:04X}", u32::from(control)))
}

/// Whether something can be held for so long: whole seconds, which stand in the record.
pub fn is_ttl(ttl: Duration) -> bool {
    (MIN_TTL..=MAX_TTL).contains(&ttl) && ttl.subsec_nanos() == 0
}

/// Which lock, of all there are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace of those who ask.
    pub namespace: String,
    /// What it is.
    pub kind: Kind,
    /// Its name: what programs call it.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of namespace {}", self.kind.named(&self.name), self.namespace)
    }
}

/// Who holds a key, as everybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// The run of an instance, or whatever another client of the API calls itself.
    pub holder: String,
    /// Grows with every acquisition of the key.
    pub fence: u64,
    /// For so long after each renewal nobody else gets it.
    pub ttl: Duration,
    /// When it was acquired.
    pub acquired: Timestamp,
    /// When it was last renewed.
    pub renewed: Timestamp,
    /// Of the one who asked.
    pub ticket: Option<u64>,
    /// What the holder said about it.
    pub metadata: Map<String, Value>,
}

/// A key that is held.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The key.
    pub key: Key,
    /// Who holds it.
    pub holding: Holding,
    /// The node whose agent gave it, where several share what keeps the keys: each may have an instance of that name.
    pub node: Option<String>,
}

impl Held {
    /// The holder, told apart from those of other nodes: `web-1@vm-a`.
    pub fn owner(&self) -> String {
        let instance = self.holding.instance();
        self.node.as_ref().map_or_else(|| instance.clone(), |node| format!("{instance}@{node}"))
    }
}

impl Holding {
    /// The instance's name, where a run of one holds it.
    pub fn instance(&self) -> String {
        self.holder.parse().map_or_else(|_| self.holder.clone(), |session: Session| session.instance)
    }

    /// As programs and people read it.
    pub fn shown(&self, kind: Kind, name: &str) -> Map<String, Value> {
        let members = [
            (kind.field(), json!(name)),
            ("fence", json!(self.fence)),
            ("holder", json!(self.instance())),
            ("ttl", json!(mesh_api::duration::Duration::from_secs(self.ttl.as_secs()))),
            ("acquiredAt", json!(self.acquired)),
            ("renewedAt", json!(self.renewed)),
            ("expiresAt", json!(self.expires())),
            ("metadata", json!(self.metadata)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// When it is anybody's, unless it is renewed; by the wall clock, for people.
    pub fn expires(&self) -> Timestamp {
        self.renewed.saturating_add(jiff::SignedDuration::try_from(self.ttl).unwrap_or(jiff::SignedDuration::MAX)).unwrap_or(self.renewed)
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Another holds it, and the wait is over.
    Held(Box<Holding>),
    /// It is not the asker's, or no longer.
    Lost(Loss),
    /// Too many wait already.
    Busy,
    /// What keeps the locks does not answer.
    Unavailable(String),
    /// What keeps the locks refuses it, and will again: the namespace does not exist, say.
    Refused(String),
}

/// Why a lock is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The holder has not renewed it in time.
    NotRenewed,
    /// It has, but that could not be written.
    Unavailable,
    /// The run that held it is over.
    InstanceEnded,
    /// Somebody removed it, or another holds it.
    TakenAway,
    /// It was given back.
    Released,
    /// It is not known here: it was never the asker's, or is over for long.
    NotHeld,
}

impl Loss {
    /// As programs read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRenewed => "NotRenewed",
            Self::Unavailable => "Unavailable",
            Self::InstanceEnded => "InstanceEnded",
            Self::TakenAway => "TakenAway",
            Self::Released => "Released",
            Self::NotHeld => "NotHeld",
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRenewed => "it was not renewed in time",
            Self::Unavailable => "its renewal could not be written in time",
            Self::InstanceEnded => "the run that held it has ended",
            Self::TakenAway => "it was removed, or taken by another",
            Self::Released => "it was released",
            Self::NotHeld => "it was never yours, or has been over for long",
        })
    }
}

#[cfg(test)]
mod tests;
