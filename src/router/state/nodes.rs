//! What routing needs of the cluster's nodes: the zone of the router's own, and which of them the cluster has lost. A VM has no Nodes. Pure.
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::{ResourceExt, runtime::watcher::Event};
use tokio::time::Instant;

use super::known::Known;
use crate::table::build::near::Here;

/// The label that says the zone (Kubernetes' own).
const ZONE: &str = "topology.kubernetes.io/zone";
/// The condition that says whether a node does its work.
const READY: &str = "Ready";
/// How long a kubelet that is heard of again may take to say that its pods are ready after all: it compares every 10 s.
const RETURN: Duration = Duration::from_secs(30);

/// The nodes, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: Known<Node>,
    /// Where the router was told to be.
    told: Here,
    /// Those that are lost; until a time, those that came back or may have been lost while the watch failed.
    lost: HashMap<String, Option<Instant>>,
}

impl Nodes {
    pub(super) fn new(told: Here) -> Self {
        Self { told, ..Self::default() }
    }

    /// Takes an event, or that the watch failed; says whether it changes where requests may go.
    pub(super) fn take(&mut self, event: Option<Event<Node>>, now: Instant) -> bool {
        let Self { known, lost, told: _ } = self;
        let Some(event) = event else {
            // Any of them may have been lost meanwhile, and the slices may say so before the nodes do.
            let before = lost.len();
            for node in known.iter() {
                let back = lost.entry(node.name_any()).or_insert(Some(now));
                *back = back.map(|_| now + RETURN);
            }
            return lost.len() > before;
        };
        known.take(event, same, |old, new| {
            let Some(node) = new else {
                lost.retain(|name, _| old.is_none_or(|gone| gone.name_any() != *name));
                return;
            };
            if is_lost(node) {
                lost.insert(node.name_any(), None);
            } else if let Some(back @ None) = lost.get_mut(&node.name_any()) {
                *back = Some(now + RETURN);
            }
        })
    }

    /// Where the router is: the zone that it was told, else that of its node.
    pub(super) fn here(&self) -> Here {
        let own = self.known.iter().find(|node| Some(node.name_any()) == self.told.node);
        Here { zone: self.told.zone.clone().or_else(|| own?.labels().get(ZONE).cloned()), node: self.told.node.clone() }
    }

    /// Nodes whose pods may serve although the cluster calls them unready: it does so with all pods of a node that it does not hear of.
    pub(super) fn lost(&self) -> HashSet<String> {
        self.lost.keys().cloned().collect()
    }

    /// When the next of those that came back counts as the others do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lost.values().flatten().min().copied()
    }

    /// From now on those whose time is over count as the others do.
    pub(super) fn settle(&mut self, now: Instant) {
        self.lost.retain(|_, back| back.is_none_or(|until| until > now));
    }
}

/// Keeps what is read here.
pub(super) fn trim(node: &mut Node) {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    node.spec = None;
    let conditions = node.status.take().and_then(|status| status.conditions).unwrap_or_default();
    let conditions = conditions.into_iter().filter(|one| one.type_ == READY).collect();
    node.status = Some(NodeStatus { conditions: Some(conditions), ..NodeStatus::default() });
}

fn same(a: &Node, b: &Node) -> bool {
    is_lost(a) == is_lost(b) && a.labels().get(ZONE) == b.labels().get(ZONE)
}

/// Whether the cluster says that it is not ready, or does not know. Of one that is new nothing is said.
fn is_lost(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == READY && one.status != "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, zone: &str, ready: &str) -> Event<Node> {
        let mut node: Node = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { ZONE: zone } },
            "status": { "conditions": [{ "type": "MemoryPressure", "status": "Unknown" }, { "type": "Ready", "status": ready }] },
        }))
        .unwrap();
        trim(&mut node);
        Event::Apply(node)
    }

    fn lost(nodes: &Nodes) -> Vec<String> {
        let mut lost: Vec<_> = nodes.lost().into_iter().collect();
        lost.sort();
        lost
    }

    #[test]
    fn a_node_that_is_not_heard_of_is_lost_and_for_a_while_after_its_return() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        assert!(nodes.take(Some(node("a", "z1", "True")), now));
        assert!(!nodes.take(Some(node("a", "z1", "True")), now), "its heartbeat is no news");
        assert_eq!((lost(&nodes), nodes.next()), (vec![], None));
        assert!(nodes.take(Some(node("a", "z1", "Unknown")), now));
        assert_eq!((lost(&nodes), nodes.next()), (vec!["a".to_owned()], None), "however long that takes");
        assert!(nodes.take(Some(node("a", "z1", "True")), now));
        assert_eq!((lost(&nodes), nodes.next()), (vec!["a".to_owned()], Some(now + RETURN)));
        nodes.settle(now + RETURN / 2);
        assert_eq!(lost(&nodes), ["a"]);
        nodes.take(Some(node("a", "z1", "False")), now + RETURN / 2);
        nodes.settle(now + RETURN);
        assert_eq!(lost(&nodes), ["a"], "it was lost again");
        nodes.take(Some(node("a", "z1", "True")), now + RETURN);
        nodes.settle(now + RETURN * 2);
        assert_eq!((lost(&nodes), nodes.next()), (vec![], None));
    }

    #[test]
    fn while_the_watch_fails_and_for_a_while_after_it_any_node_may_be_lost() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        assert!(!nodes.take(None, now), "none is known");
        nodes.take(Some(node("a", "z1", "True")), now);
        nodes.take(Some(node("b", "z1", "Unknown")), now);
        assert!(nodes.take(None, now));
        assert_eq!((lost(&nodes), nodes.next()), (vec!["a".to_owned(), "b".to_owned()], Some(now + RETURN)));
        assert!(!nodes.take(None, now + RETURN), "it fails again");
        assert_eq!(nodes.next(), Some(now + RETURN * 2));
        nodes.settle(now + RETURN * 2);
        assert_eq!(lost(&nodes), ["b"]);
    }

    #[test]
    fn the_zone_is_that_of_the_routers_own_node_unless_it_was_told() {
        let here = |zone: Option<&str>, node_name: Option<&str>| {
            let told = Here { zone: zone.map(str::to_owned), node: node_name.map(str::to_owned) };
            let mut nodes = Nodes::new(told);
            nodes.take(Some(node("a", "z1", "True")), Instant::now());
            nodes.take(Some(node("b", "z2", "True")), Instant::now());
            nodes.here().zone
        };
        assert_eq!(here(None, Some("b")).as_deref(), Some("z2"));
        assert_eq!(here(Some("z9"), Some("b")).as_deref(), Some("z9"));
        assert_eq!(here(None, Some("c")), None);
        assert_eq!(here(None, None), None);
    }
}
