//! From the objects of the API to a route table. Pure but for the live state that goes on from table to table, which [`Carry`] keeps.
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicUsize},
};

use http::HeaderValue;
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use kube::ResourceExt;
use tokio::sync::Notify;

use super::{Cookie, Route, RouteTable, Service};
use crate::{
    api::{
        MeshService,
        labels::SLICE_SERVICE,
        node::BackendKind,
        service::{RolloutType, Strategy},
    },
    plan::{
        routes::{claims, seniority},
        template,
    },
    router::{
        affinity::{Scope, Token},
        endpoint::{Condition, Endpoint, InstanceRef, Live},
        metrics::RouterMetrics,
        settings::Settings,
    },
};

/// What goes on from table to table: counts of what is under way, turns, metrics.
#[derive(Debug)]
pub struct Carry {
    lives: HashMap<String, (SocketAddr, Arc<Live>)>,
    turns: HashMap<(String, String), Arc<AtomicUsize>>,
    next_id: u64,
    quiet: Arc<Notify>,
    metrics: Arc<RouterMetrics>,
}

impl Carry {
    /// Nothing yet. `quiet` is told whenever a draining endpoint has nothing under way any more.
    pub fn new(metrics: Arc<RouterMetrics>, quiet: Arc<Notify>) -> Self {
        Self { lives: HashMap::new(), turns: HashMap::new(), next_id: 1, quiet, metrics }
    }

    /// The live state of an instance; a new one if it moved to another address, because what answers there is another program.
    fn live(&mut self, uid: &str, address: SocketAddr) -> Arc<Live> {
        let id = self.next_id;
        let mut make = || {
            self.next_id += 1;
            (address, Arc::new(Live::new(id, self.quiet.clone())))
        };
        match self.lives.entry(uid.to_owned()) {
            Entry::Occupied(mut known) => {
                if known.get().0 != address {
                    known.insert(make());
                }
                known.get().1.clone()
            }
            Entry::Vacant(new) => new.insert(make()).1.clone(),
        }
    }

    fn forget_all_but(&mut self, table: &RouteTable) {
        let uids: HashSet<&str> = table.services.iter().flat_map(|s| &s.endpoints).map(|e| e.instance.uid.as_str()).collect();
        self.lives.retain(|uid, _| uids.contains(uid.as_str()));
        let names: HashSet<(&str, &str)> = table.services.iter().map(|s| (s.namespace.as_str(), s.name.as_str())).collect();
        self.turns.retain(|(namespace, name), _| names.contains(&(namespace.as_str(), name.as_str())));
        self.metrics.keep_services(&names);
    }
}

/// One slice entry, reduced to what counts.
struct Seen {
    instance: InstanceRef,
    address: SocketAddr,
    condition: Condition,
    slice_revision: String,
}

/// A table of these objects. Of two services that claim the same, the senior one gets it.
pub fn build<'a>(
    services: impl IntoIterator<Item = &'a MeshService>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    settings: Arc<Settings>,
    carry: &mut Carry,
) -> RouteTable {
    let mut seen = endpoints(slices);
    let mut services: Vec<&MeshService> = services.into_iter().collect();
    services.sort_by_cached_key(|service| seniority(service));
    let mut table = RouteTable { synced: true, settings, ..RouteTable::default() };
    for object in services {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let service = Arc::new(service(object, seen.remove(&key).unwrap_or_default(), &table.settings, carry));
        table.services.push(service.clone());
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        for claim in claims(&object.spec) {
            let route = Route { service: service.clone(), prefix: claim.prefix.as_str().into() };
            table.paths(claim.hostname.as_deref()).0.entry(claim.prefix).or_insert(route);
        }
    }
    // Slices that outlived their service: nothing is sent there, and their drain is reported all the same.
    for ((namespace, name), entries) in seen {
        table.services.push(Arc::new(orphan(namespace, name, entries, carry)));
    }
    carry.forget_all_but(&table);
    table
}

fn endpoints<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> BTreeMap<(String, String), Vec<Seen>> {
    let mut seen: BTreeMap<(String, String), BTreeMap<String, Seen>> = BTreeMap::new();
    for slice in slices {
        let Some(service) = slice.labels().get(SLICE_SERVICE) else { continue };
        let namespace = slice.namespace().unwrap_or_default();
        let Some(port) = slice.ports.iter().flatten().find_map(|p| u16::try_from(p.port?).ok()) else { continue };
        let of_service = seen.entry((namespace.clone(), service.clone())).or_default();
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(entry) = entry(endpoint, port, &namespace, &slice.resource_version().unwrap_or_default()) else { continue };
            match of_service.get(&entry.instance.uid) {
                Some(other) if !supersedes(&entry, other) => {}
                _ => drop(of_service.insert(entry.instance.uid.clone(), entry)),
            }
        }
    }
    seen.into_iter().map(|(key, entries)| (key, entries.into_values().collect())).collect()
}

/// While an endpoint moves between slices it is in two of them: the end counts before the rest, then the later write.
fn supersedes(new: &Seen, old: &Seen) -> bool {
    let rank = |seen: &Seen| (seen.condition.is_ending(), seen.slice_revision.parse::<u64>().unwrap_or(0));
    rank(new) > rank(old)
}

fn entry(endpoint: &SliceEndpoint, port: u16, namespace: &str, revision: &str) -> Option<Seen> {
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let address = SocketAddr::new(ip, port);
    let target = endpoint.target_ref.as_ref();
    let instance = InstanceRef {
        namespace: target.and_then(|t| t.namespace.clone()).unwrap_or_else(|| namespace.to_owned()),
        name: target.and_then(|t| t.name.clone()).unwrap_or_default(),
        uid: target.and_then(|t| t.uid.clone()).unwrap_or_else(|| address.to_string()),
        acknowledged: target.is_some_and(|t| t.kind.as_deref() == Some("MeshInstance") && t.uid.is_some()),
    };
    Some(Seen { instance, address, condition: condition(endpoint), slice_revision: revision.to_owned() })
}

/// What is not said: ready is true, serving is as ready, terminating is false (discovery/v1).
fn condition(endpoint: &SliceEndpoint) -> Condition {
    let said = endpoint.conditions.as_ref();
    let ready = said.and_then(|c| c.ready).unwrap_or(true);
    match (said.and_then(|c| c.terminating).unwrap_or(false), said.and_then(|c| c.serving).unwrap_or(ready)) {
        (true, true) => Condition::Terminating,
        (true, false) => Condition::Ended,
        (false, _) if ready => Condition::Ready,
        (false, _) => Condition::Unready,
    }
}

fn service(object: &MeshService, seen: Vec<Seen>, settings: &Settings, carry: &mut Carry) -> Service {
    let spec = &object.spec;
    let uid = object.uid().unwrap_or_default();
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let mut service = blank(namespace, name, &uid, carry);
    let persistence = spec.session_persistence.clone().unwrap_or_default();
    service.strategy = spec.strategy;
    service.cookie.name = persistence.session_name;
    service.cookie.lifetime = persistence.absolute_timeout.map(crate::api::duration::Duration::get);
    service.request_limit = match spec.timeouts.as_ref().and_then(|t| t.request) {
        Some(own) => Some(own.get()).filter(|d| !d.is_zero()),
        None => settings.limits.request,
    };
    service.drain_timeout = spec.drain.timeout.get();
    // Which backend runs it is not the router's business, but for this: what has an image has no port that others wait for.
    let backend = if spec.image.is_some() { BackendKind::Podman } else { BackendKind::Process };
    let rolls = template::rollout_type(spec, backend) == RolloutType::RollingUpdate;
    service.last_resort = object.metadata.deletion_timestamp.is_none() && spec.replicas > 0 && rolls;
    fill(&mut service, seen, &uid, carry);
    service
}

fn orphan(namespace: String, name: String, seen: Vec<Seen>, carry: &mut Carry) -> Service {
    let mut service = blank(namespace, name, "", carry);
    fill(&mut service, seen, "", carry);
    service
}

fn blank(namespace: String, name: String, uid: &str, carry: &mut Carry) -> Service {
    let key = (namespace.clone(), name.clone());
    let label = format!("{namespace}/{name}");
    Service {
        strategy: Strategy::RoundRobin,
        label: HeaderValue::from_str(&label).unwrap_or(HeaderValue::from_static("?")),
        cookie: Cookie { name: String::new(), lifetime: None, scope: Scope { uid: uid.to_owned(), name: label } },
        request_limit: None,
        drain_timeout: std::time::Duration::ZERO,
        last_resort: false,
        endpoints: Vec::new(),
        ready: Vec::new(),
        terminating: Vec::new(),
        by_token: HashMap::new(),
        turn: carry.turns.entry(key).or_default().clone(),
        cells: carry.metrics.service(&namespace, &name),
        namespace,
        name,
    }
}

fn fill(service: &mut Service, seen: Vec<Seen>, uid: &str, carry: &mut Carry) {
    for Seen { instance, address, condition, slice_revision } in seen {
        let (token, live) = (Token::new(uid, &instance.uid), carry.live(&instance.uid, address));
        let endpoint = Arc::new(Endpoint { instance, address, condition, token, slice_revision, live });
        match condition {
            Condition::Ready => service.ready.push(endpoint.clone()),
            Condition::Terminating => service.terminating.push(endpoint.clone()),
            Condition::Ended | Condition::Unready => {}
        }
        if matches!(condition, Condition::Ready | Condition::Terminating) {
            service.by_token.insert(token, endpoint.clone());
        }
        service.endpoints.push(endpoint);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn carry() -> Carry {
        Carry::new(Arc::default(), Arc::default())
    }

    fn web(spec: &Value) -> MeshService {
        let mut all = json!({ "command": ["x"], "route": "/" });
        spec.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
        let object = json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": { "name": "web", "namespace": "default", "uid": "u" }, "spec": all });
        serde_json::from_value(object).unwrap()
    }

    fn slice(name: &str, revision: u64, port: u16, conditions: &Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": { "name": name, "namespace": "default", "resourceVersion": revision.to_string(), "labels": { SLICE_SERVICE: "web" } },
            "ports": [{ "port": port }],
            "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": conditions, "targetRef": { "kind": "MeshInstance", "name": "a", "uid": "uid-a" } }],
        }))
        .unwrap()
    }

    fn conditions(table: &RouteTable) -> Vec<Condition> {
        table.services.iter().flat_map(|s| &s.endpoints).map(|e| e.condition).collect()
    }

    #[test]
    fn the_end_of_an_endpoint_counts_over_all_else_and_then_the_later_write() {
        let (ready, unready, ending) =
            (json!({}), json!({ "ready": false }), json!({ "ready": false, "serving": true, "terminating": true }));
        for (slices, condition) in [
            (vec![slice("1", 5, 1, &ready)], Condition::Ready),
            (vec![slice("1", 5, 1, &ready), slice("2", 10, 1, &unready)], Condition::Unready),
            (vec![slice("1", 10, 1, &ready), slice("2", 9, 1, &unready)], Condition::Ready),
            (vec![slice("1", 5, 1, &ending), slice("2", 10, 1, &ready)], Condition::Terminating),
            (vec![slice("1", 5, 1, &json!({ "ready": false, "serving": false, "terminating": true }))], Condition::Ended),
        ] {
            let table = build([&web(&json!({}))], &slices, Arc::default(), &mut carry());
            assert_eq!(conditions(&table), [condition], "{slices:?}");
        }
    }

    #[test]
    fn live_state_goes_on_from_table_to_table_but_not_to_another_address() {
        let (mut carry, service) = (carry(), web(&json!({})));
        let live = |port, carry: &mut Carry| {
            build([&service], [&slice("1", 1, port, &json!({}))], Arc::default(), carry).services[0].ready[0].live.id
        };
        let first = live(1, &mut carry);
        assert_eq!(live(1, &mut carry), first);
        assert_ne!(live(2, &mut carry), first);
    }

    #[test]
    fn a_service_that_is_gone_gets_nothing_and_its_instances_are_still_drained() {
        let ending = slice("1", 1, 1, &json!({ "ready": false, "serving": true, "terminating": true }));
        let table = build([], [&ending], Arc::default(), &mut carry());
        assert!(table.find("a", "/").is_none());
        assert_eq!(conditions(&table), [Condition::Terminating]);
        assert!(!table.services[0].last_resort);
    }

    #[test]
    fn the_last_resort_is_not_for_services_that_are_to_have_none() {
        for (spec, last_resort) in
            [(json!({}), true), (json!({ "replicas": 0 }), false), (json!({ "rollout": { "type": "Recreate" } }), false)]
        {
            assert_eq!(build([&web(&spec)], [], Arc::default(), &mut carry()).services[0].last_resort, last_resort, "{spec}");
        }
    }
}
