//! What is used that an earlier controller of the same state directory has made, which was removed since: remembered until it is told of.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{Inner, identity};
use mesh_api::labels;
use mesh_plan::instance::InstanceKey;

/// What was adopted.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// What carries our own id is left of an earlier state directory at the same place.
    pub(crate) inherited: bool,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// Everything that was, so that each is told of once.
    known: BTreeSet<String>,
    /// What is to be told, by the uid of the instance that uses it.
    news: BTreeMap<String, Vec<String>>,
}

impl Adopted {
    pub(crate) fn new(inherited: bool) -> Self {
        Self { inherited, found: Mutex::default() }
    }

    /// That an instance uses something which was there.
    pub(crate) fn note(&self, key: &InstanceKey, what: &str, name: &str) {
        if !self.inherited {
            return;
        }
        let what = format!("{what} {name}");
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.known.insert(what.clone()) {
            found.news.entry(key.uid.clone()).or_default().push(what);
        }
    }

    /// That something is made now: it is nobody's heritage.
    pub(crate) fn made(&self, what: &str, name: &str) {
        if self.inherited {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).known.insert(format!("{what} {name}"));
        }
    }

    /// What is to be told, once.
    pub(crate) fn take(&self, key: &InstanceKey) -> Option<String> {
        let news = self.found.lock().unwrap_or_else(PoisonError::into_inner).news.remove(&key.uid)?;
        Some(format!("{}: left by the controller that this state directory had before it was removed", news.join(", ")))
    }
}

impl Inner {
    /// Whether something that is there may be used for an instance: it is ours. What was left to us is noted.
    pub(super) fn may_use<'a>(&self, key: &InstanceKey, (what, name): (&str, &str), label: impl Fn(&str) -> Option<&'a String>) -> bool {
        let ours = self.owns(label(labels::CONTROLLER));
        if ours {
            self.adopted.note(key, what, name);
        }
        ours
    }
}

/// Whose it is, for who finds its name taken.
pub(crate) fn whose<'a>(label: impl Fn(&str) -> Option<&'a String>) -> String {
    let Some(place) = label(labels::STATE_DIR) else { return String::new() };
    if identity::maker_is_gone(&label) {
        let path = identity::path_here(place).unwrap_or(Path::new(place)).display();
        return format!(
            "the state directory {place} of the controller that made it is gone, so `mesh doctor --remove-unowned` removes what it left, and one with --state-dir {path} takes it up; or "
        );
    }
    format!("it is of the controller with the state directory {place}; ")
}
