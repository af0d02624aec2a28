//! Tells when something is gone that is always to be there. Level-based: told once for each look at which one of the names is missing.
use std::collections::BTreeSet;

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{Config, Event},
};

use mesh_kit::watch;

/// An item for every time that not all of these objects are there. Only names are read of them.
pub(super) fn absences<K>(
    objects: Api<PartialObjectMeta<K>>,
    config: Config,
    names: BTreeSet<String>,
    who: &'static str,
) -> BoxStream<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
{
    let trim = |object: &mut PartialObjectMeta<K>| object.managed_fields_mut().clear();
    watch::events(objects, config, who, trim)
        .scan(BTreeSet::new(), move |there, event| {
            let is_told = note(there, &names, &event);
            std::future::ready(Some(is_told))
        })
        .filter_map(|is_told| std::future::ready(is_told.then_some(())))
        .boxed()
}

/// Takes note of an event; whether it says that something is missing.
fn note<K: Resource>(there: &mut BTreeSet<String>, names: &BTreeSet<String>, event: &Event<K>) -> bool {
    match event {
        Event::Init => there.clear(),
        Event::InitApply(object) => drop(there.insert(object.name_any())),
        // Only what the list has found is asked for.
        Event::Apply(_) => {}
        Event::Delete(object) => return names.contains(&object.name_any()),
        Event::InitDone => return !names.is_subset(there),
    }
    false
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;

    use super::*;

    #[test]
    fn what_is_missing_is_told_after_a_list_and_at_a_deletion() {
        let object = |name: &str| {
            let mut object = Namespace::default();
            object.metadata.name = Some(name.to_owned());
            object
        };
        let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut there = BTreeSet::new();
        let mut told = |event| note(&mut there, &names, &event);
        for (event, expected) in [
            (Event::Init, false),
            (Event::InitApply(object("a")), false),
            (Event::InitDone, true),
            (Event::Apply(object("b")), false),
            (Event::Init, false),
            (Event::InitApply(object("a")), false),
            (Event::InitApply(object("b")), false),
            (Event::InitDone, false),
            (Event::Delete(object("foreign")), false),
            (Event::Delete(object("b")), true),
        ] {
            assert_eq!(told(event), expected);
        }
    }
}
