//! The objects of one kind as a watch has told of them so far. Pure.
use std::collections::HashMap;

use kube::{Resource, ResourceExt, runtime::watcher::Event};

/// Objects by namespace and name. A new list replaces the old one only when it is complete.
#[derive(Debug)]
pub struct Known<K> {
    objects: HashMap<Key, K>,
    coming: HashMap<Key, K>,
    synced: bool,
}

type Key = (Option<String>, String);

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), coming: HashMap::new(), synced: false }
    }
}

impl<K: Resource> Known<K> {
    /// Takes an event; says whether it changed anything that counts, by `same`, and shows `changed` each object that came, went or is another now:
    /// as it was, and as it is.
    pub fn take(&mut self, event: Event<K>, same: impl Fn(&K, &K) -> bool, mut changed: impl FnMut(Option<&K>, Option<&K>)) -> bool {
        match event {
            Event::Init => {
                self.coming.clear();
                false
            }
            Event::InitApply(object) => {
                self.coming.insert(key(&object), object);
                false
            }
            Event::InitDone => {
                let mut old = std::mem::replace(&mut self.objects, std::mem::take(&mut self.coming));
                let mut any = !std::mem::replace(&mut self.synced, true);
                for (key, new) in &self.objects {
                    let old = old.remove(key);
                    if !old.as_ref().is_some_and(|old| same(old, new)) {
                        changed(old.as_ref(), Some(new));
                        any = true;
                    }
                }
                for gone in old.values() {
                    changed(Some(gone), None);
                }
                any || !old.is_empty()
            }
            Event::Apply(object) => {
                let key = key(&object);
                let old = self.objects.get(&key);
                let unchanged = old.is_some_and(|old| same(old, &object));
                if !unchanged {
                    changed(old, Some(&object));
                }
                self.objects.insert(key, object);
                !unchanged
            }
            Event::Delete(object) => {
                let old = self.objects.remove(&key(&object));
                if let Some(gone) = &old {
                    changed(Some(gone), None);
                }
                old.is_some()
            }
        }
    }

    /// One of them.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&K> {
        self.objects.get(&(Some(namespace.to_owned()), name.to_owned()))
    }

    /// Whether a list was complete once.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.objects.values()
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace(), object.name_any())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;

    fn secret(name: &str, version: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        secret.metadata.resource_version = Some(version.into());
        secret
    }

    fn same(a: &Secret, b: &Secret) -> bool {
        a.metadata.resource_version == b.metadata.resource_version
    }

    fn ignore(_: Option<&Secret>, _: Option<&Secret>) {}

    fn names(known: &Known<Secret>) -> Vec<String> {
        let mut names: Vec<_> = known.iter().map(ResourceExt::name_any).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_was_known_stays_until_a_new_list_is_complete() {
        let mut known = Known::default();
        known.take(Event::Init, same, ignore);
        known.take(Event::InitApply(secret("a", "1")), same, ignore);
        assert!(!known.is_synced());
        assert!(known.take(Event::InitDone, same, ignore), "the first list counts");
        assert!(known.take(Event::Apply(secret("b", "2")), same, ignore));
        known.take(Event::Init, same, ignore);
        known.take(Event::InitApply(secret("b", "2")), same, ignore);
        assert_eq!(names(&known), ["a", "b"], "the new list is not complete");
        assert!(known.take(Event::InitDone, same, ignore), "a was deleted meanwhile");
        assert_eq!(names(&known), ["b"]);
    }

    #[test]
    fn what_is_the_same_is_no_change() {
        let mut known = Known::default();
        assert!(known.take(Event::InitDone, same, ignore), "even an empty list is news the first time");
        assert!(known.take(Event::Apply(secret("a", "1")), same, ignore));
        assert!(!known.take(Event::Apply(secret("a", "1")), same, ignore));
        known.take(Event::InitApply(secret("a", "1")), same, ignore);
        assert!(!known.take(Event::InitDone, same, ignore), "the same list again");
        assert!(known.take(Event::Delete(secret("a", "1")), same, ignore));
        assert!(!known.take(Event::Delete(secret("a", "1")), same, ignore));
    }
}
