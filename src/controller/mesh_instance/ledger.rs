//! Which store knows what runs here. What runs without an object is ended only if the store that it was started under says so: one that was made anew (a damaged one
//! was moved away) knows nothing, and that is no reason to end anything. What it found is kept until its service is applied again.
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use mesh_api::names;
use mesh_kit::replace::{self, Durability};
use mesh_plan::instance::InstanceKey;

/// What is done with what runs here and is not known to a store that is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unknown {
    /// It runs on, until its service is applied again.
    #[default]
    Keep,
    /// It is ended.
    End,
}

/// The ledger of an agent.
#[derive(Debug)]
pub struct Ledger {
    /// None: it is forgotten with the process.
    file: Option<PathBuf>,
    store: String,
    unknown: Unknown,
    page: Mutex<Page>,
    /// What an earlier store has left and nothing has replaced yet.
    left: watch::Sender<Vec<InstanceKey>>,
}

/// What is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    /// The store that was there at the last start; empty before the first.
    store: String,
    /// The uids of what an earlier store has left.
    kept: BTreeSet<String>,
}

impl Ledger {
    /// That of a state directory, for the store of this id.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn open(state_dir: &Path, store: &str, unknown: Unknown) -> io::Result<Self> {
        let file = state_dir.join("agent.json");
        let page = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| io::Error::other(format!("{}: {error}; remove it, and what runs is kept", file.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Page::default(),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
        };
        Ok(Self { file: Some(file), store: store.to_owned(), unknown, page: Mutex::new(page), left: watch::Sender::default() })
    }

    /// One without a file, for a store that is `known` to have started what runs.
    pub fn in_memory(known: bool) -> Self {
        let store = if known { "this" } else { "another" };
        let page = Page { store: store.to_owned(), kept: BTreeSet::new() };
        Self { file: None, store: "this".to_owned(), unknown: Unknown::Keep, page: Mutex::new(page), left: watch::Sender::default() }
    }

    /// What an earlier store has left here: it runs on, and this one does not know it.
    pub fn left(&self) -> watch::Receiver<Vec<InstanceKey>> {
        self.left.subscribe()
    }

    /// Which of those that the store does not know are to be ended; the others are left to run on. `knows_others`: it knows some of what runs here.
    pub(super) fn sort(&self, orphans: Vec<InstanceKey>, knows_others: bool) -> Vec<InstanceKey> {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the first page was written, a store that knows anything here is the one that has started it.
        let is_new = if page.store.is_empty() { !knows_others } else { page.store != self.store };
        let keep = |key: &InstanceKey| self.unknown == Unknown::Keep && (is_new || page.kept.contains(&key.uid));
        let (kept, ended): (Vec<_>, Vec<_>) = orphans.into_iter().partition(keep);
        let new = Page { store: self.store.clone(), kept: kept.iter().map(|key| key.uid.clone()).collect() };
        if *page != new {
            *page = new;
            self.write(&page);
        }
        self.left.send_if_modified(|left| std::mem::replace(left, kept.clone()) != kept);
        ended
    }

    /// What is left of a service; that service has an instance now, so it is not needed any more.
    pub(super) fn replace(&self, namespace: &str, service: &str) -> Vec<InstanceKey> {
        let is_of = |key: &mut InstanceKey| key.namespace == namespace && names::service_of(&key.name) == Some(service);
        let mut replaced = Vec::new();
        self.left.send_if_modified(|left| {
            replaced = left.extract_if(.., is_of).collect();
            !replaced.is_empty()
        });
        replaced
    }

    /// This one is kept no more.
    pub(super) fn strike(&self, uid: &str) {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        if page.kept.remove(uid) {
            self.write(&page);
        }
    }

    fn write(&self, page: &Page) {
        let Some(file) = &self.file else { return };
        // Synced: one that lost its bytes with the machine's power would stop the next start.
        let text = serde_json::to_vec(page).map_err(io::Error::from);
        let written = text.and_then(|text| replace::file(file, &text, 0o600, Durability::Synced));
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "what the store knows could not be written down; the next start keeps what it does not know");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(uids: &[&str]) -> Vec<InstanceKey> {
        let key = |uid: &&str| InstanceKey { namespace: "default".into(), name: format!("web-a-{uid}"), uid: (*uid).into() };
        uids.iter().map(key).collect()
    }

    #[test]
    fn what_a_store_does_not_know_is_ended_unless_another_store_has_started_it() {
        let dir = tempfile::tempdir().unwrap();
        let sort = |store: &str, unknown, uids: &[&str], knows_others| {
            let ledger = Ledger::open(dir.path(), store, unknown).unwrap();
            let ended = ledger.sort(keys(uids), knows_others);
            let uids = |keys: &[InstanceKey]| keys.iter().map(|key| key.uid.clone()).collect::<Vec<_>>();
            (uids(&ledger.left().borrow()), uids(&ended))
        };
        let all = |uids: &[&str]| uids.iter().map(ToString::to_string).collect::<Vec<_>>();
        // A state directory of before there was a ledger, whose store knows what it has started.
        assert_eq!(sort("first", Unknown::Keep, &["1"], true), (all(&[]), all(&["1"])));
        assert_eq!(sort("first", Unknown::Keep, &["2"], false), (all(&[]), all(&["2"])));
        // The store was moved away; what it had started is kept, also at the starts after this one, and what came later is not.
        assert_eq!(sort("second", Unknown::Keep, &["3", "4"], false), (all(&["3", "4"]), all(&[])));
        assert_eq!(sort("second", Unknown::Keep, &["3", "4", "5"], true), (all(&["3", "4"]), all(&["5"])));
        Ledger::open(dir.path(), "second", Unknown::Keep).unwrap().strike("4");
        assert_eq!(sort("second", Unknown::Keep, &["3", "4"], true), (all(&["3"]), all(&["4"])));
        assert_eq!(sort("second", Unknown::End, &["3"], true), (all(&[]), all(&["3"])));
    }

    #[test]
    fn without_a_ledger_a_store_that_knows_nothing_here_ends_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path(), "new", Unknown::Keep).unwrap();
        assert_eq!(ledger.sort(keys(&["1"]), false), []);
        assert_eq!(*ledger.left().borrow(), keys(&["1"]));
        std::fs::write(dir.path().join("agent.json"), "{").unwrap();
        assert!(Ledger::open(dir.path(), "new", Unknown::Keep).unwrap_err().to_string().contains("agent.json"));
    }
}
