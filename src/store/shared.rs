//! What readers see: the index, the ring and the revision, under one lock, so that they always belong together. Only the writer changes it.
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use tokio::sync::watch;

use super::{
    Options,
    disk::Loaded,
    entry::{Entry, Key},
    error::Expired,
    recovered::Recovered,
    ring::{Event, Ring},
};

/// Objects read together.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The revision they were read at.
    pub revision: u64,
    /// Sorted by namespace and name.
    pub entries: Vec<Arc<Entry>>,
}

type Objects = BTreeMap<(Arc<str>, Arc<str>), Arc<Entry>>;

#[derive(Debug)]
struct State {
    resources: HashMap<Arc<str>, Objects>,
    ring: Ring,
    revision: u64,
    /// Of each resource the revision of its last change since the start.
    changed: HashMap<Arc<str>, u64>,
    failure: Option<String>,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: RwLock<State>,
    latest: watch::Sender<u64>,
    /// Why the store can never write again, once that is so.
    lost: watch::Sender<Option<String>>,
    /// The last outage that is over.
    recovered: watch::Sender<Option<Recovered>>,
    uuid: String,
    /// What was jumped over when it was opened: this store gave none of these, but one that it has replaced may have.
    gap: Range<u64>,
}

impl Shared {
    pub(super) fn new(loaded: Loaded, first: u64, options: &Options) -> Self {
        let Loaded { revision, uuid, entries } = loaded;
        let ring = Ring::new(revision, options.ring_events, options.ring_bytes);
        let mut state = State { resources: HashMap::new(), ring, revision, changed: HashMap::new(), failure: None };
        for entry in entries {
            state.insert(Arc::new(entry));
        }
        let (lost, recovered) = (watch::Sender::new(None), watch::Sender::new(None));
        let gap = revision + 1..first;
        Self { state: RwLock::new(state), latest: watch::Sender::new(revision), lost, recovered, uuid, gap }
    }

    /// A panic elsewhere cannot leave the state half changed in a way that matters to a reader, so poison is ignored.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.read().get(key).cloned()
    }

    pub(super) fn list(&self, resource: &str, namespace: Option<&str>) -> Listing {
        let state = self.read();
        Listing { revision: state.revision, entries: state.objects(resource, namespace) }
    }

    pub(super) fn list_all(&self) -> Listing {
        let state = self.read();
        let entries = state.resources.values().flat_map(BTreeMap::values).cloned().collect();
        Listing { revision: state.revision, entries }
    }

    /// Takes back, from the latest state, what the events after the revision did.
    pub(super) fn list_at(&self, resource: &str, namespace: Option<&str>, revision: u64) -> Result<Listing, Expired> {
        self.check(revision)?;
        let state = self.read();
        let mut was: BTreeMap<_, _> = state.objects(resource, namespace).into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        for event in state.ring.after(revision)?.rev() {
            let key = &event.object.key;
            if *key.resource != *resource || namespace.is_some_and(|namespace| *key.namespace != *namespace) {
                continue;
            }
            match &event.before {
                Some(before) => was.insert(key.clone(), Arc::clone(before)),
                None => was.remove(key),
            };
        }
        Ok(Listing { revision, entries: was.into_values().collect() })
    }

    pub(super) fn resources(&self) -> Vec<Arc<str>> {
        self.read().resources.iter().filter(|(_, objects)| !objects.is_empty()).map(|(name, _)| Arc::clone(name)).collect()
    }

    pub(super) fn revision(&self) -> u64 {
        self.read().revision
    }

    /// The revision that follows on another.
    pub(super) fn next(&self, revision: u64) -> u64 {
        self.gap.end.max(revision + 1)
    }

    pub(super) fn check(&self, revision: u64) -> Result<(), Expired> {
        if self.gap.contains(&revision) { Err(Expired { asked: revision, oldest: self.oldest() }) } else { Ok(()) }
    }

    pub(super) fn changed(&self, resource: &str) -> u64 {
        self.read().changed.get(resource).copied().unwrap_or(0)
    }

    pub(super) fn oldest(&self) -> u64 {
        self.read().ring.oldest()
    }

    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.read().failure.clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// At most `limit` events of a resource after a revision, and the revision up to which that is all there is. One that was never given
    /// out has expired too: waiting for it would leave out what happens until then.
    pub(super) fn events(&self, resource: &str, after: u64, limit: usize) -> Result<(Vec<Event>, u64), Expired> {
        self.check(after)?;
        let state = self.read();
        if after > state.revision {
            return Err(Expired { asked: after, oldest: state.ring.oldest() });
        }
        let mut seen = after;
        let mut events = Vec::new();
        for event in state.ring.after(after)? {
            if *event.object.key.resource == *resource || resource.is_empty() {
                if events.len() == limit {
                    return Ok((events, seen));
                }
                events.push(event.clone());
            }
            seen = event.revision();
        }
        Ok((events, state.revision))
    }

    /// Writer only: a committed batch becomes visible, at once and in order.
    pub(super) fn publish(&self, events: Vec<Event>, revision: u64) {
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                if event.deleted {
                    state.remove(&event.object.key);
                } else {
                    state.insert(Arc::clone(&event.object));
                }
                state.changed.insert(Arc::clone(&event.object.key.resource), event.revision());
                state.ring.push(event);
            }
            state.revision = revision;
        }
        self.latest.send_replace(revision);
    }

    /// Writer only: writes are carried out again.
    pub(super) fn recover(&self, recovered: Recovered) {
        self.set_failure(None);
        self.recovered.send_replace(Some(recovered));
    }

    pub(super) fn recovered(&self) -> watch::Receiver<Option<Recovered>> {
        self.recovered.subscribe()
    }

    /// Writer only: why writes are refused, or that they are carried out (again).
    pub(super) fn set_failure(&self, reason: Option<String>) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).failure = reason;
    }

    /// Writer only: writes are refused for good.
    pub(super) fn lose(&self, reason: String) {
        self.set_failure(Some(reason.clone()));
        self.lost.send_replace(Some(reason));
    }

    /// Waits until writes are refused for good.
    pub(super) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        let reason = lost.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender is in `self`, so that this cannot come.
            None => std::future::pending().await,
        }
    }
}

impl State {
    fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.resources.get(&key.resource)?.get(&(Arc::clone(&key.namespace), Arc::clone(&key.name)))
    }

    fn insert(&mut self, entry: Arc<Entry>) {
        let key = &entry.key;
        let at = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        self.resources.entry(Arc::clone(&key.resource)).or_default().insert(at, entry);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(objects) = self.resources.get_mut(&key.resource) {
            objects.remove(&(Arc::clone(&key.namespace), Arc::clone(&key.name)));
        }
    }

    fn objects(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Entry>> {
        let Some(objects) = self.resources.get(resource) else { return Vec::new() };
        let Some(namespace) = namespace else { return objects.values().cloned().collect() };
        let first = (Arc::from(namespace), Arc::from(""));
        let from_there = objects.range(first..);
        from_there.take_while(|((ns, _), _)| **ns == *namespace).map(|(_, entry)| Arc::clone(entry)).collect()
    }
}
