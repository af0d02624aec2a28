//! How a key is written down: as a `coordination.k8s.io/v1` Lease that `kubectl get leases` shows, in the form that client-go's leader election uses.
//!
//! The fence of an acquisition is the revision of the write that acquired it. That is not known before, so the first renewal notes it; until then it is the
//! object's own. A lock's Lease goes when it is given back, and fences grow all the same: revisions are those of the whole store.
use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use serde_json::{Map, Value, json};

use super::{
    Holding, Key, Kind,
    message::{Change, Record},
};
use mesh_api::{
    labels,
    names::{self, is_subdomain},
};

/// The name of a key's Lease. A group's is the group's own where that can be a name, so that other programs take part by that name;
/// but one that is derived from a key has a prefix which no group's own has.
pub fn name(key: &Key) -> String {
    let own = key.kind == Kind::Leader && key.namespace != labels::SYSTEM_NAMESPACE;
    let derived =
        [Kind::Lock, Kind::Leader].iter().any(|kind| key.name.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('-')));
    if own && !derived && is_subdomain(&key.name) { key.name.clone() } else { names::derived(key.kind.as_str(), &key.name) }
}

/// Which key a Lease is of; none if of none, or if its name is that of another.
pub fn key(lease: &Lease) -> Option<Key> {
    let metadata = &lease.metadata;
    let kind = match metadata.labels.as_ref()?.get(labels::LOCK)?.as_str() {
        "lock" => Kind::Lock,
        "leader" => Kind::Leader,
        _ => return None,
    };
    let named = metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::LOCK_KEY).cloned());
    let key = Key { namespace: metadata.namespace.clone()?, kind, name: named.or_else(|| metadata.name.clone())? };
    (metadata.name.as_deref() == Some(&name(&key))).then_some(key)
}

/// What a Lease says.
pub fn record(lease: &Lease) -> Record {
    let metadata = &lease.metadata;
    let revision = metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0);
    let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name));
    let spec = lease.spec.as_ref();
    Record {
        exists: true,
        revision,
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
        watched: label(labels::LOCK).is_some(),
        ours: label(labels::APP_MANAGED_BY).is_some_and(|manager| manager == labels::MANAGER),
        agent: metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::LOCK_AGENT)).cloned(),
        holding: spec.and_then(|spec| holding(spec, metadata, revision)),
    }
}

/// A Lease that was removed; where it was seen, with the removal's revision.
pub fn removed(lease: &Lease) -> Record {
    Record { exists: false, holding: None, ..record(lease) }
}

fn holding(spec: &LeaseSpec, metadata: &ObjectMeta, revision: u64) -> Option<Holding> {
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(name));
    let time = |time: &Option<MicroTime>| time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    Some(Holding {
        holder: spec.holder_identity.clone().filter(|holder| !holder.is_empty())?,
        fence: annotation(labels::LOCK_FENCE).and_then(|fence| fence.parse().ok()).unwrap_or(revision),
        // What client-go takes where nothing is said.
        ttl: Duration::from_secs(seconds.unwrap_or(15)),
        acquired: time(&spec.acquire_time),
        renewed: time(&spec.renew_time),
        ticket: annotation(labels::LOCK_TICKET).and_then(|ticket| ticket.parse().ok()),
        metadata: annotation(labels::LOCK_METADATA).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    })
}

/// The Lease of one who is the first to hold the key, by an agent if that has a name.
pub fn made(key: &Key, change: &Change, agent: Option<&str>, now: Timestamp) -> Lease {
    let mut lease = Lease { metadata: ObjectMeta { name: Some(name(key)), ..ObjectMeta::default() }, spec: None };
    let text = |value: &str| value.to_owned();
    lease.metadata.labels =
        Some(BTreeMap::from([(text(labels::LOCK), text(key.kind.as_str())), (text(labels::APP_MANAGED_BY), text(labels::MANAGER))]));
    let mut annotations = BTreeMap::from([(text(labels::LOCK_KEY), key.name.clone())]);
    if let Change::Take { session, ttl, ticket, metadata, transitions } = change {
        annotations.insert(text(labels::LOCK_TICKET), ticket.to_string());
        annotations.extend(agent.map(|agent| (text(labels::LOCK_AGENT), text(agent))));
        annotations.extend(written(metadata).map(|metadata| (text(labels::LOCK_METADATA), metadata)));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(session.to_string()),
            lease_duration_seconds: Some(seconds(*ttl)),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(*transitions),
            ..LeaseSpec::default()
        });
    }
    lease.metadata.annotations = Some(annotations);
    lease
}

/// What changes in a Lease that is there, as a merge patch; it is refused if the Lease is another by now.
pub fn patch(key: &Key, revision: u64, change: &Change, agent: Option<&str>, now: Timestamp) -> Value {
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    let (spec, more) = match change {
        Change::Take { session, ttl, ticket, metadata, transitions } => (
            json!({
                "holderIdentity": session.to_string(),
                "leaseDurationSeconds": seconds(*ttl),
                "acquireTime": MicroTime(now),
                "renewTime": MicroTime(now),
                "leaseTransitions": transitions,
            }),
            json!({
                "labels": { labels::LOCK: key.kind.as_str() },
                "annotations": {
                    labels::LOCK_KEY: key.name,
                    labels::LOCK_AGENT: agent,
                    labels::LOCK_FENCE: null,
                    labels::LOCK_TICKET: ticket.to_string(),
                    labels::LOCK_METADATA: written(metadata),
                },
            }),
        ),
        Change::Renew { fence } => {
            (json!({ "renewTime": MicroTime(now) }), json!({ "annotations": { labels::LOCK_FENCE: fence.to_string() } }))
        }
        // What goes is removed, not written.
        Change::Free | Change::Remove => (
            json!({ "holderIdentity": "", "renewTime": MicroTime(now) }),
            json!({ "annotations": { labels::LOCK_AGENT: null, labels::LOCK_FENCE: null, labels::LOCK_TICKET: null, labels::LOCK_METADATA: null } }),
        ),
        Change::Mark => {
            (Value::Null, json!({ "labels": { labels::LOCK: key.kind.as_str() }, "annotations": { labels::LOCK_KEY: key.name } }))
        }
    };
    if let (Value::Object(metadata), Value::Object(more)) = (&mut metadata, more) {
        metadata.extend(more);
    }
    if spec.is_null() { json!({ "metadata": metadata }) } else { json!({ "metadata": metadata, "spec": spec }) }
}

fn written(metadata: &Map<String, Value>) -> Option<String> {
    (!metadata.is_empty()).then(|| Value::Object(metadata.clone()).to_string())
}

fn seconds(ttl: Duration) -> i32 {
    i32::try_from(ttl.as_secs()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;

    fn of(kind: Kind, name: &str) -> Key {
        Key { namespace: "shop".into(), kind, name: name.into() }
    }

    fn take() -> Change {
        let session = Session { instance: "web-1a-0".into(), uid: "u-1".into(), attempt: 2 };
        let metadata = Map::from_iter([("why".to_owned(), json!("nightly"))]);
        Change::Take { session, ttl: Duration::from_secs(30), ticket: 7, metadata, transitions: 3 }
    }

    #[test]
    fn a_group_with_a_name_of_kubernetes_is_that_lease_and_all_else_has_a_name_of_its_own() {
        assert_eq!(name(&of(Kind::Leader, "scheduler.v1")), "scheduler.v1");
        assert_eq!(name(&Key { namespace: "mesh-system".into(), ..of(Kind::Leader, "router-a") }), "leader-router-a");
        assert_eq!(name(&of(Kind::Lock, "orders")), "lock-orders");
        assert_eq!(
            ["lock-orders", "leader-orders", "lock", "locksmith"].map(|group| name(&of(Kind::Leader, group))),
            ["leader-lock-orders", "leader-leader-orders", "lock", "locksmith"]
        );
        let names = ["Orders", "orders/1", "orders 1", "-orders", "ö", &"x".repeat(512)].map(|key| name(&of(Kind::Lock, key)));
        for name in &names {
            assert!(is_subdomain(name) && name.len() <= 63, "{name}");
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn the_fence_is_the_revision_of_the_write_that_acquired_it_however_often_it_is_renewed() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut lease = made(&of(Kind::Lock, "orders/1"), &take(), Some("vm"), now);
        lease.metadata.namespace = Some("shop".into());
        lease.metadata.resource_version = Some("41".into());
        assert_eq!(key(&lease), Some(of(Kind::Lock, "orders/1")));
        let first = record(&lease);
        assert!(first.ours && first.agent.as_deref() == Some("vm"));
        let holding = first.holding.clone().unwrap();
        assert_eq!((holding.fence, holding.holder.as_str(), holding.metadata["why"].as_str()), (41, "web-1a-0_u-1_2", Some("nightly")));
        let change = |lease: &Lease, revision: u64, patch: &Value| {
            let mut value = serde_json::to_value(lease).unwrap();
            merge(&mut value, patch);
            value["metadata"]["resourceVersion"] = json!(revision.to_string());
            serde_json::from_value::<Lease>(value).unwrap()
        };
        let renewed = change(&lease, 57, &patch(&of(Kind::Lock, "orders/1"), 41, &Change::Renew { fence: 41 }, Some("vm"), now));
        assert_eq!(record(&renewed).holding.unwrap().fence, 41);
        let taken = change(&renewed, 60, &patch(&of(Kind::Lock, "orders/1"), 57, &take(), Some("vm-2"), now));
        assert_eq!((record(&taken).holding.unwrap().fence, record(&taken).agent.as_deref()), (60, Some("vm-2")));
        let freed = record(&change(&taken, 61, &patch(&of(Kind::Lock, "orders/1"), 60, &Change::Free, None, now)));
        assert_eq!((freed.holding, freed.agent, freed.exists, freed.revision), (None, None, true, 61));
    }

    fn merge(into: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *into = patch.clone();
            return;
        };
        for (name, value) in patch {
            if value.is_null() {
                into.as_object_mut().unwrap().remove(name);
            } else {
                merge(into.as_object_mut().unwrap().entry(name.clone()).or_insert_with(|| json!({})), value);
            }
        }
    }

    #[test]
    fn what_client_go_wrote_is_read_and_what_is_not_ours_is_left_alone() {
        let spec = LeaseSpec { holder_identity: Some("host-1_3fd1".into()), ..LeaseSpec::default() };
        let metadata = ObjectMeta { name: Some("scheduler".into()), namespace: Some("shop".into()), ..ObjectMeta::default() };
        let mut lease = Lease { metadata, spec: Some(spec) };
        assert_eq!(key(&lease), None);
        lease.metadata.labels = Some([(labels::LOCK.to_owned(), "leader".to_owned())].into());
        assert_eq!(key(&lease), Some(of(Kind::Leader, "scheduler")));
        assert_eq!(record(&lease).holding.unwrap().ttl, Duration::from_secs(15));
        // A label alone does not make it a lock: its name would be another.
        lease.metadata.labels = Some([(labels::LOCK.to_owned(), "lock".to_owned())].into());
        assert_eq!(key(&lease), None);
    }
}
