//! What the backend keeps in memory of each instance. One slot per uid, one action or look at a time on it; anybody may say "look again".
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use mesh_plan::{container::Published, instance::InstanceKey};

/// The slots by uid.
#[derive(Debug, Default)]
pub(super) struct Slots(Mutex<HashMap<String, Arc<Slot>>>);

/// One instance's.
#[derive(Debug)]
pub(super) struct Slot {
    /// Which instance.
    pub(super) key: InstanceKey,
    /// Held over awaits on purpose: two starts of one instance must not overlap.
    pub(super) state: tokio::sync::Mutex<State>,
    /// Counts the calls to look again.
    news: AtomicU64,
    stopping: Mutex<Option<Stopping>>,
    removed: AtomicBool,
}

/// What was found when it was looked at last.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The container that runs.
    pub(super) held: Option<Held>,
    /// A container of which the engine says that it runs though its process is gone, and when that was first seen.
    pub(super) ended_unseen: Option<(String, Timestamp)>,
}

/// A running container.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) pid: i32,
    pub(super) since: Timestamp,
    pub(super) port: Option<Published>,
    pub(super) image: Option<String>,
    /// The engine was told to stop it by whomever.
    pub(super) stopping: bool,
    /// It listens on its port; from then on that is not looked up again.
    pub(super) listens: bool,
    /// When its process was seen to be gone while the engine could not be asked.
    pub(super) gone: Option<Timestamp>,
    /// The news that were known when this was found.
    pub(super) news: u64,
}

/// A stop that is under way.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When patience ends; may only come nearer.
    pub(super) deadline: watch::Sender<Instant>,
    /// Why it does not come about.
    pub(super) trouble: Option<String>,
}

impl Slots {
    /// The slot of an instance.
    pub(super) fn of(&self, key: &InstanceKey) -> Arc<Slot> {
        let new = || {
            let (state, news, stopping, removed) = Default::default();
            Arc::new(Slot { key: key.clone(), state, news, stopping, removed })
        };
        Arc::clone(self.all().entry(key.uid.clone()).or_insert_with(new))
    }

    /// Forgets a slot that nobody but the caller holds.
    pub(super) fn forget(&self, slot: &Arc<Slot>) {
        let mut slots = self.all();
        if Arc::strong_count(slot) == 2 {
            slots.remove(&slot.key.uid);
        }
    }

    /// Whatever is known of an instance is old; nothing is if it has no slot.
    pub(super) fn look_again(&self, key: &InstanceKey) {
        if let Some(slot) = self.all().get(&key.uid) {
            slot.look_again();
        }
    }

    /// The instances of which something is known.
    pub(super) fn keys(&self) -> Vec<InstanceKey> {
        self.all().values().map(|slot| slot.key.clone()).collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// What is known is old.
    pub(super) fn look_again(&self) {
        self.news.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that was said.
    pub(super) fn news(&self) -> u64 {
        self.news.load(Ordering::Acquire)
    }

    /// Nothing more will come of the instance.
    pub(super) fn set_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// The stop that is under way.
    pub(super) fn stopping(&self) -> MutexGuard<'_, Option<Stopping>> {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
