//! What is used that a controller which is gone has made: remembered until it is told of.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use super::{Inner, identity};
use mesh_api::labels;
use mesh_plan::instance::InstanceKey;

/// What was adopted.
#[derive(Debug)]
pub(super) struct Adopted {
    /// What carries our own id is left of an earlier state directory at the same place.
    inherited: bool,
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
    pub(super) fn new(inherited: bool) -> Self {
        Self { inherited, found: Mutex::default() }
    }

    fn note(&self, key: &InstanceKey, what: String) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.known.insert(what.clone()) {
            found.news.entry(key.uid.clone()).or_default().push(what);
        }
    }

    /// That something is made now: it is nobody's heritage.
    pub(super) fn made(&self, what: &str, name: &str) {
        if self.inherited {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).known.insert(format!("{what} {name}"));
        }
    }

    /// What is to be told, once.
    pub(super) fn take(&self, key: &InstanceKey) -> Option<String> {
        let news = self.found.lock().unwrap_or_else(PoisonError::into_inner).news.remove(&key.uid)?;
        Some(format!("{}: made by a controller whose state directory is gone", news.join(", ")))
    }
}

impl Inner {
    /// Whether something that is there may be used for an instance: it is ours, or its maker is gone, which is noted.
    pub(super) fn may_use<'a>(&self, key: &InstanceKey, (what, name): (&str, &str), label: impl Fn(&str) -> Option<&'a String>) -> bool {
        let ours = self.owns(label(labels::CONTROLLER));
        if !ours && !identity::maker_is_gone(&label) {
            return false;
        }
        if !ours || self.adopted.inherited {
            self.adopted.note(key, format!("{what} {name}"));
        }
        true
    }
}

/// Whose it is, for who finds its name taken.
pub(super) fn whose<'a>(label: impl Fn(&str) -> Option<&'a String>) -> String {
    match label(labels::STATE_DIR) {
        Some(place) => format!("it is of the controller with the state directory {place}; "),
        None => String::new(),
    }
}
