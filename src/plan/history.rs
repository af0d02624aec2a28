//! The history of a service: which of its revisions are kept, and which number the current one has. As a Deployment has it with its ReplicaSets.
use std::{cmp::Reverse, collections::BTreeSet};

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt;

use mesh_api::labels;

/// The number that the object of this name is to have so that it is the newest; none if it is that already. A revision that is gone back to
/// becomes the newest again.
pub fn number(name: &str, known: &[ControllerRevision]) -> Option<i64> {
    let newest = known.iter().max_by_key(|revision| revision.revision);
    let is_newest = newest.is_some_and(|newest| newest.name_any() == name);
    (!is_newest).then(|| newest.and_then(|newest| newest.revision).unwrap_or(0) + 1)
}

/// Those to drop: of the revisions that are not used, all but the newest `limit`.
pub fn surplus<'a>(known: &'a [ControllerRevision], used: &BTreeSet<&str>, limit: usize) -> Vec<&'a ControllerRevision> {
    let idle = |revision: &&ControllerRevision| revision.labels().get(labels::REVISION).is_some_and(|name| !used.contains(name.as_str()));
    let mut idle: Vec<_> = known.iter().filter(idle).collect();
    idle.sort_by_key(|revision| Reverse(revision.revision));
    idle.split_off(limit.min(idle.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(revisions: &[(&str, i64)]) -> Vec<ControllerRevision> {
        let object = |(name, number): &(&str, i64)| {
            let mut object = ControllerRevision { revision: Some(*number), ..ControllerRevision::default() };
            object.metadata.name = Some(format!("web-{name}"));
            object.metadata.labels = Some([(labels::REVISION.to_owned(), (*name).to_owned())].into());
            object
        };
        revisions.iter().map(object).collect()
    }

    #[test]
    fn exactly_as_many_old_revisions_are_kept_as_the_limit_says_beside_those_that_run() {
        let all = known(&[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]);
        let dropped = |used: &[&str], limit| {
            let mut names: Vec<String> =
                surplus(&all, &used.iter().copied().collect(), limit).iter().map(|revision| revision.name_any()).collect();
            names.sort();
            names
        };
        assert_eq!(dropped(&["e"], 2), ["web-a", "web-b"]);
        assert_eq!(dropped(&["e", "a"], 2), ["web-b"], "one that still runs is not of the old ones");
        assert_eq!(dropped(&["e"], 0), ["web-a", "web-b", "web-c", "web-d"]);
        assert_eq!(dropped(&["e"], 9), [""; 0]);
    }

    #[test]
    fn a_revision_that_is_gone_back_to_is_the_newest_again() {
        let all = known(&[("a", 1), ("b", 2)]);
        assert_eq!(number("web-c", &all), Some(3));
        assert_eq!(number("web-a", &all), Some(3));
        assert_eq!(number("web-b", &all), None);
        assert_eq!(number("web-a", &[]), Some(1));
    }
}
