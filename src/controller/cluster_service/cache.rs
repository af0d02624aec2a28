//! What is known of one kind, kept by one watch: grouped by the MeshService that it matters to, and silent about changes that say nothing new.
//! A watch that has to list anew tells of what has changed meanwhile and of what has gone, not of everything.
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::watcher::{self, Event},
};
use serde::de::DeserializeOwned;

use mesh_kit::watch::events;

/// Namespace and name of a MeshService that an object matters to.
pub(super) type Group = (String, String);
/// An object before and after a change.
type Change<K> = (Option<Arc<K>>, Option<Arc<K>>);
/// Namespace and name of an object.
type Key = (String, String);

/// What a change of an object calls for.
#[derive(Debug)]
pub(super) struct Changed {
    /// The services to look at.
    pub(super) groups: Vec<Group>,
    /// The cache is complete for the first time.
    pub(super) first: bool,
}

/// The objects of one kind.
#[derive(Debug)]
pub(super) struct Cache<K>(Arc<RwLock<Known<K>>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[derive(Debug)]
struct Known<K> {
    all: BTreeMap<Key, Arc<K>>,
    grouped: BTreeMap<Group, BTreeMap<Key, Arc<K>>>,
}

/// How a kind is kept.
pub(super) struct Kept<K> {
    /// Which objects.
    pub(super) which: watcher::Config,
    /// Takes away what nobody here reads.
    pub(super) trim: fn(&mut K),
    /// The services that an object matters to.
    pub(super) groups: fn(&K) -> Vec<Group>,
}

impl<K: Resource<DynamicType = ()> + Clone + PartialEq> Cache<K> {
    fn new() -> Self {
        Self(Arc::new(RwLock::new(Known { all: BTreeMap::new(), grouped: BTreeMap::new() })))
    }

    /// All that matter to a service.
    pub(super) fn of(&self, group: &Group) -> Vec<Arc<K>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.grouped.get(group).map(|objects| objects.values().cloned().collect()).unwrap_or_default()
    }

    /// One of them.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.all.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Puts an object in the place of an older one, or away; both, where they differ.
    fn put(&self, key: &Key, new: Option<Arc<K>>, groups: fn(&K) -> Vec<Group>) -> Option<Change<K>> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = match &new {
            Some(new) => known.all.insert(key.clone(), new.clone()),
            None => known.all.remove(key),
        };
        for group in old.iter().flat_map(|old| groups(old)) {
            let is_empty = known.grouped.get_mut(&group).is_some_and(|objects| {
                objects.remove(key);
                objects.is_empty()
            });
            if is_empty {
                known.grouped.remove(&group);
            }
        }
        for group in new.iter().flat_map(|new| groups(new)) {
            known.grouped.entry(group).or_default().extend(new.clone().map(|new| (key.clone(), new)));
        }
        let same = old.as_ref().zip(new.as_ref()).is_some_and(|(old, new)| says_the_same(&**old, &**new));
        (!same && (old.is_some() || new.is_some())).then_some((old, new))
    }

    fn keys(&self) -> Vec<Key> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).all.keys().cloned().collect()
    }
}

/// Whether two states of an object differ in nothing but their version.
fn says_the_same<K: Resource + Clone + PartialEq>(old: &K, new: &K) -> bool {
    let bare = |object: &K| {
        let mut object = object.clone();
        object.meta_mut().resource_version = None;
        object
    };
    bare(old) == bare(new)
}

/// Watches a kind. `concerns` says which services a change matters to, beside those that the object is grouped under; `tap` sees every event first.
pub(super) fn watched<K>(
    api: Api<K>,
    kept: Kept<K>,
    mut tap: impl FnMut(&Event<K>) + Send + 'static,
    mut concerns: impl FnMut(Option<&K>, Option<&K>) -> Vec<Group> + Send + 'static,
) -> (Cache<K>, impl Stream<Item = Changed> + Send)
where
    K: Resource<DynamicType = ()> + Clone + PartialEq + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let cache = Cache::new();
    let Kept { which, trim, groups } = kept;
    let (filled, mut listed, mut complete) = (cache.clone(), BTreeMap::new(), false);
    let mut change = move |changed: Option<Change<K>>, into: &mut Vec<Group>| {
        let Some((old, new)) = changed else { return };
        into.extend(old.iter().chain(&new).flat_map(|object| groups(object)));
        into.extend(concerns(old.as_deref(), new.as_deref()));
    };
    let changes = events(api, which, "controller", trim).filter_map(move |event| {
        let mut groups_changed = Vec::new();
        let mut first = false;
        tap(&event);
        match event {
            Event::Apply(object) => {
                change(filled.put(&key(&object), Some(Arc::new(object)), groups), &mut groups_changed);
            }
            Event::Delete(object) => change(filled.put(&key(&object), None, groups), &mut groups_changed),
            Event::Init => listed = BTreeMap::new(),
            Event::InitApply(object) => {
                listed.insert(key(&object), Arc::new(object));
            }
            Event::InitDone => {
                for gone in filled.keys().into_iter().filter(|key| !listed.contains_key(key)) {
                    change(filled.put(&gone, None, groups), &mut groups_changed);
                }
                for (key, object) in std::mem::take(&mut listed) {
                    change(filled.put(&key, Some(object), groups), &mut groups_changed);
                }
                first = !std::mem::replace(&mut complete, true);
            }
        }
        groups_changed.sort_unstable();
        groups_changed.dedup();
        let changed = (first || !groups_changed.is_empty()).then_some(Changed { groups: groups_changed, first });
        std::future::ready(changed)
    });
    (cache, changes)
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn map(version: &str, group: &str) -> Arc<ConfigMap> {
        Arc::new(
            serde_json::from_value(
                json!({"metadata": {"name": "m", "namespace": "n", "resourceVersion": version, "labels": {"g": group}}}),
            )
            .unwrap(),
        )
    }

    fn groups(map: &ConfigMap) -> Vec<Group> {
        map.labels().get("g").map(|group| ("n".to_owned(), group.clone())).into_iter().collect()
    }

    #[test]
    fn an_object_is_found_under_the_service_it_matters_to_now_and_a_new_version_alone_is_no_news() {
        let cache = Cache::<ConfigMap>::new();
        let put = |new: Option<Arc<ConfigMap>>| cache.put(&("n".to_owned(), "m".to_owned()), new, groups);
        let of = |group: &str| cache.of(&("n".to_owned(), group.to_owned())).len();
        assert_eq!(put(Some(map("1", "a"))), Some((None, Some(map("1", "a")))));
        assert_eq!(put(Some(map("2", "a"))), None);
        assert_eq!(cache.get("n", "m"), Some(map("2", "a")));
        assert_eq!(put(Some(map("3", "b"))), Some((Some(map("2", "a")), Some(map("3", "b")))));
        assert_eq!((of("a"), of("b")), (0, 1));
        assert_eq!(put(None), Some((Some(map("3", "b")), None)));
        assert_eq!((put(None), of("b"), cache.keys().len()), (None, 0, 0));
    }
}
