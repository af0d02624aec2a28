//! From the objects of the API to a route table. Pure but for the live state that goes on from table to table, which [`Carry`] keeps.
pub mod near;
mod slices;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

use http::HeaderValue;
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use tokio::sync::Notify;

use self::{near::Here, slices::Seen};
use super::{Cookie, Departed, Route, RouteTable, Service};
use crate::{
    affinity::{Scope, Token},
    endpoint::{Condition, Endpoint, InstanceRef, Live},
    metrics::RouterMetrics,
    settings::Settings,
};
use mesh_api::{
    MeshService,
    labels::SLICE_SERVICE,
    node::BackendKind,
    service::{RolloutType, Strategy},
};
use mesh_plan::{
    routes::{Claim, claims, seniority},
    template,
};

/// Namespace and name of a service.
pub type Key = (String, String);

/// What goes on from table to table: the services as they were made last, counts of what is under way, turns, metrics. A change costs what changed:
/// [`Carry::remake`] the services that it is about, then [`Carry::table`].
#[derive(Debug)]
pub struct Carry {
    made: HashMap<Key, Made>,
    departed: Vec<Departed>,
    here: Here,
    lost: HashSet<String>,
    next_id: u64,
    quiet: Arc<Notify>,
    metrics: Arc<RouterMetrics>,
}

/// A service, and what it claims; nothing if it is to get nothing.
#[derive(Debug)]
struct Made {
    service: Arc<Service>,
    born: Timestamp,
    claims: Vec<(Claim, Arc<str>)>,
}

impl Carry {
    /// Nothing yet. `quiet` is told whenever a draining endpoint has nothing under way any more.
    pub fn new(metrics: Arc<RouterMetrics>, quiet: Arc<Notify>) -> Self {
        Self { made: HashMap::new(), departed: Vec::new(), here: Here::default(), lost: HashSet::new(), next_id: 1, quiet, metrics }
    }

    /// From now on hints count by this place, and these nodes are lost to the cluster; if that is news, all services are to be made anew.
    pub fn nodes(&mut self, here: Here, lost: HashSet<String>) -> bool {
        let news = (&self.here, &self.lost) != (&here, &lost);
        (self.here, self.lost) = (here, lost);
        news
    }

    /// Every service that was made.
    pub fn services(&self) -> impl Iterator<Item = &Key> {
        self.made.keys()
    }

    /// Makes a service anew, of its object and all of its slices. Without an object it is one whose slices outlived it: nothing is sent there, and
    /// their drain is reported all the same.
    pub fn remake<'a>(
        &mut self,
        key: &Key,
        object: Option<&MeshService>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
        settings: &Settings,
    ) {
        let seen = slices::endpoints(slices, &self.here, &self.lost);
        let before = self.made.remove(key);
        let before = before.as_ref().map(|made| made.service.as_ref());
        let uid = object.and_then(ResourceExt::uid).unwrap_or_default();
        let mut service = self.blank(key, &uid, before);
        if let Some(object) = object {
            say(&mut service, object, settings);
        }
        self.fill(&mut service, seen, &uid, before);
        self.part(&service, before);
        if object.is_none() && service.endpoints.is_empty() {
            self.metrics.forget_service(&key.0, &key.1);
            return;
        }
        let claims = object.filter(|object| object.metadata.deletion_timestamp.is_none()).map(|object| claims(&object.spec));
        let claims =
            claims.into_iter().flatten().map(|claim| (Arc::from(claim.prefix.as_str()), claim)).map(|(prefix, claim)| (claim, prefix));
        let born = object.map_or(Timestamp::MAX, |object| seniority(object).0);
        self.made.insert(key.clone(), Made { service: Arc::new(service), born, claims: claims.collect() });
    }

    /// The table of what was made. Of two services that claim the same, the senior one gets it.
    pub fn table(&mut self, settings: Arc<Settings>) -> RouteTable {
        self.departed.retain(|departed| !departed.endpoint.live.let_go.is_cancelled());
        let mut made: Vec<(&Key, &Made)> = self.made.iter().collect();
        made.sort_unstable_by(|(key, made), (other_key, other)| (made.born, *key).cmp(&(other.born, *other_key)));
        let mut table = RouteTable { synced: true, settings, departed: self.departed.clone(), ..RouteTable::default() };
        for (_, Made { service, claims, born: _ }) in made {
            table.services.push(service.clone());
            for (claim, prefix) in claims {
                let paths = &mut table.paths(claim.hostname.as_deref()).0;
                if !paths.contains_key(prefix) {
                    paths.insert(prefix.clone(), Route { service: service.clone(), prefix: prefix.clone() });
                }
            }
        }
        table
    }

    fn blank(&self, key: &Key, uid: &str, before: Option<&Service>) -> Service {
        let (namespace, name) = key.clone();
        let label = format!("{namespace}/{name}");
        Service {
            strategy: Strategy::RoundRobin,
            label: HeaderValue::from_str(&label).unwrap_or(HeaderValue::from_static("?")),
            cookie: Cookie { name: String::new(), lifetime: None, scope: Scope { uid: uid.to_owned(), name: label } },
            request_limit: None,
            resend: true,
            drain_timeout: before.map_or(std::time::Duration::ZERO, |before| before.drain_timeout),
            last_resort: false,
            endpoints: Vec::new(),
            ready: Vec::new(),
            stranded: Vec::new(),
            terminating: Vec::new(),
            by_token: HashMap::new(),
            turn: before.map_or_else(Arc::default, |before| before.turn.clone()),
            cells: before.map_or_else(|| self.metrics.service(&namespace, &name), |before| before.cells.clone()),
            namespace,
            name,
        }
    }

    fn fill(&mut self, service: &mut Service, seen: Vec<Seen>, uid: &str, before: Option<&Service>) {
        let known: HashMap<String, Arc<Endpoint>> = self.known(service, before);
        let mut ready = Vec::new();
        for Seen { instance, address, condition, slice_revision, hints, .. } in seen {
            let live = match known.get(&instance.uid).filter(|known| goes_on(known, address, condition)) {
                Some(known) => known.live.clone(),
                None => self.live(),
            };
            let token = Token::new(uid, &instance.uid);
            let endpoint = Arc::new(Endpoint { instance, address, condition, token, slice_revision, live });
            match condition {
                Condition::Ready => ready.push((endpoint.clone(), hints)),
                Condition::Terminating => service.terminating.push(endpoint.clone()),
                Condition::Stranded => service.stranded.push(endpoint.clone()),
                Condition::Ended | Condition::Unready => {}
            }
            // Whom a session belongs to gets it wherever it is.
            if matches!(condition, Condition::Ready | Condition::Terminating | Condition::Stranded) {
                service.by_token.insert(token, endpoint.clone());
            }
            service.endpoints.push(endpoint);
        }
        service.ready = near::keep_near(ready);
    }

    /// The endpoints that the service has had, by uid.
    fn known(&self, service: &Service, before: Option<&Service>) -> HashMap<String, Arc<Endpoint>> {
        let departed = self.departed.iter().filter(|departed| departed.is_of(service)).map(|departed| &departed.endpoint);
        departed.chain(before.iter().flat_map(|before| &before.endpoints)).map(|e| (e.instance.uid.clone(), e.clone())).collect()
    }

    fn live(&mut self) -> Arc<Live> {
        let id = self.next_id;
        self.next_id += 1;
        Arc::new(Live::new(id, self.quiet.clone()))
    }

    /// Whoever is in no slice any more may still have something under way.
    fn part(&mut self, service: &Service, before: Option<&Service>) {
        let stays: HashSet<u64> = service.endpoints.iter().map(|e| e.live.id).collect();
        self.departed.retain(|departed| !stays.contains(&departed.endpoint.live.id));
        let gone = before.iter().flat_map(|before| &before.endpoints);
        for endpoint in gone.filter(|e| !stays.contains(&e.live.id) && !e.live.let_go.is_cancelled()) {
            // Its object is gone, or another's by now: nobody reads a report about it.
            let instance = InstanceRef { acknowledged: false, ..endpoint.instance.clone() };
            let endpoint = Arc::new(Endpoint { instance, condition: Condition::Ended, ..endpoint.as_ref().clone() });
            let service = (service.namespace.clone(), service.name.clone());
            self.departed.push(Departed {
                endpoint,
                service,
                drain_timeout: before.map_or(std::time::Duration::ZERO, |b| b.drain_timeout),
            });
        }
    }
}

/// Whether an endpoint that was seen is the one that was known: not one that moved, because what answers there is another program; its IPv4 and its
/// IPv6 address are one program's. One that was closed and is not ending after all begins anew.
fn goes_on(known: &Endpoint, address: SocketAddr, condition: Condition) -> bool {
    let same = known.address == address || known.address.is_ipv4() != address.is_ipv4();
    same && (condition.is_ending() || !known.live.is_closed())
}

/// A table of all these objects.
pub fn build<'a>(
    services: impl IntoIterator<Item = &'a MeshService>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    settings: Arc<Settings>,
    carry: &mut Carry,
) -> RouteTable {
    let mut all: HashMap<Key, (Option<&MeshService>, Vec<&EndpointSlice>)> =
        carry.services().map(|key| (key.clone(), (None, Vec::new()))).collect();
    for service in services {
        all.entry((service.namespace().unwrap_or_default(), service.name_any())).or_default().0 = Some(service);
    }
    for slice in slices {
        if let Some((namespace, service)) = service_of(slice) {
            all.entry((namespace.to_owned(), service.to_owned())).or_default().1.push(slice);
        }
    }
    for (key, (object, slices)) in all {
        carry.remake(&key, object, slices, &settings);
    }
    carry.table(settings)
}

/// Namespace and name of the service that a slice belongs to.
pub fn service_of(slice: &EndpointSlice) -> Option<(&str, &str)> {
    Some((slice.metadata.namespace.as_deref().unwrap_or_default(), slice.metadata.labels.as_ref()?.get(SLICE_SERVICE)?))
}

/// What a service's object says of it.
fn say(service: &mut Service, object: &MeshService, settings: &Settings) {
    let spec = &object.spec;
    let persistence = spec.session_persistence.clone().unwrap_or_default();
    service.strategy = spec.strategy;
    service.cookie.name = persistence.session_name;
    service.cookie.lifetime = persistence.absolute_timeout.map(mesh_api::duration::Duration::get);
    service.request_limit = match spec.timeouts.as_ref().and_then(|t| t.request) {
        Some(own) => Some(own.get()).filter(|d| !d.is_zero()),
        None => settings.limits.request,
    };
    service.resend = spec.retry.clone().unwrap_or_default().attempts > 0;
    service.drain_timeout = spec.drain.timeout.get();
    // Which backend runs it is not the router's business, but for this: what has an image has no port that others wait for.
    let backend = if spec.image.is_some() { BackendKind::Podman } else { BackendKind::Process };
    let rolls = template::rollout_type(spec, backend) == RolloutType::RollingUpdate;
    service.last_resort = object.metadata.deletion_timestamp.is_none() && spec.replicas > 0 && rolls;
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
    fn a_request_is_sent_again_unless_the_service_says_so() {
        for (spec, resend) in
            [(json!({}), true), (json!({ "retry": { "attempts": 1 } }), true), (json!({ "retry": { "attempts": 0 } }), false)]
        {
            let table = build([&web(&spec)], &[], Arc::default(), &mut carry());
            assert_eq!(table.services[0].resend, resend, "{spec}");
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

    /// A slice of the pod `uid-a` at another address.
    fn at(address: &str, port: u16, conditions: &Value) -> EndpointSlice {
        let mut slice = slice("2", 2, port, conditions);
        slice.address_type = if address.contains(':') { "IPv6" } else { "IPv4" }.to_owned();
        slice.endpoints.as_mut().unwrap()[0].addresses = vec![address.to_owned()];
        slice
    }

    #[test]
    fn a_pod_of_two_families_is_one_program_whichever_slice_is_there() {
        let (mut carry, service, ready) = (carry(), web(&json!({})), json!({}));
        let (four, six) = (at("10.1.0.1", 80, &ready), at("fd00::1", 80, &ready));
        let mut seen = |slices: &[&EndpointSlice]| {
            let table = build([&service], slices.iter().copied(), Arc::default(), &mut carry);
            let endpoint = &table.services[0].ready[0];
            (endpoint.address.is_ipv4(), endpoint.live.id)
        };
        let (_, id) = seen(&[&six]);
        assert_eq!(seen(&[&six, &four]), (true, id));
        assert_eq!(seen(&[&four, &six]), (true, id));
        assert_eq!(seen(&[&six]), (false, id), "the slice of the other family is on its way");
        assert_eq!(seen(&[&four]), (true, id));
    }

    #[test]
    fn an_endpoint_that_no_slice_has_for_a_moment_keeps_its_live_state_and_one_that_was_closed_meanwhile_begins_anew() {
        let (mut carry, service, slice) = (carry(), web(&json!({})), at("10.1.0.1", 80, &json!({})));
        let mut table = |slices: &[&EndpointSlice]| build([&service], slices.iter().copied(), Arc::default(), &mut carry);
        let first = table(&[&slice]).services[0].ready[0].live.clone();
        let gone = table(&[]);
        assert_eq!((gone.services[0].endpoints.len(), gone.departed.len()), (0, 1));
        assert!(Arc::ptr_eq(&gone.departed[0].endpoint.live, &first));
        let back = table(&[&slice]);
        assert!(Arc::ptr_eq(&back.services[0].ready[0].live, &first));
        assert!(back.departed.is_empty());
        table(&[]);
        first.close();
        let again = table(&[&slice]).services[0].ready[0].live.clone();
        assert!(!Arc::ptr_eq(&again, &first));
        assert!(again.begin().is_some());
        assert_eq!(table(&[&slice]).departed.len(), 1, "what it had may be under way still");
        first.let_go.cancel();
        assert_eq!(table(&[&slice]).departed.len(), 0);
    }

    #[test]
    fn hints_are_for_new_requests_and_a_session_finds_its_endpoint_everywhere() {
        let (mut carry, service) = (carry(), web(&json!({})));
        let mut slice = at("10.1.0.1", 80, &json!({}));
        let mut far = slice.endpoints.as_ref().unwrap()[0].clone();
        far.addresses = vec!["10.2.0.1".to_owned()];
        far.target_ref.as_mut().unwrap().uid = Some("uid-far".to_owned());
        slice.endpoints.as_mut().unwrap().push(far);
        for (endpoint, zone) in slice.endpoints.as_mut().unwrap().iter_mut().zip(["z1", "z2"]) {
            endpoint.hints = serde_json::from_value(json!({ "forZones": [{ "name": zone }] })).unwrap();
        }
        carry.nodes(Here { zone: Some("z1".to_owned()), node: None }, HashSet::new());
        let table = build([&service], [&slice], Arc::default(), &mut carry);
        let service = &table.services[0];
        assert_eq!((service.ready.len(), service.by_token.len(), service.endpoints.len()), (1, 2, 2));
        assert_eq!(service.ready[0].instance.uid, "uid-a");
    }

    #[test]
    fn on_a_lost_node_nothing_is_known_to_be_unready_and_what_ends_there_ends() {
        let (mut carry, service) = (carry(), web(&json!({})));
        let mut found = |lost: &[&str], conditions: &Value| {
            let mut slice = at("10.1.0.1", 80, conditions);
            slice.endpoints.as_mut().unwrap()[0].node_name = Some("n1".to_owned());
            carry.nodes(Here::default(), lost.iter().map(|&name| name.to_owned()).collect());
            let table = build([&service], [&slice], Arc::default(), &mut carry);
            let service = &table.services[0];
            (service.ready.len(), service.stranded.len(), service.by_token.len(), service.endpoints[0].live.id)
        };
        let (ready, unready, ended) =
            (json!({}), json!({ "ready": false }), json!({ "ready": false, "serving": false, "terminating": true }));
        assert_eq!(found(&["n1"], &ready), (1, 0, 1, 1));
        assert_eq!(found(&["n1"], &unready), (0, 1, 1, 1), "what it has under way goes on");
        assert_eq!(found(&["n2"], &unready), (0, 0, 0, 1));
        assert_eq!(found(&["n1"], &ended), (0, 0, 0, 1));
    }

    #[test]
    fn only_what_changed_is_made_anew() {
        let (mut carry, service) = (carry(), web(&json!({})));
        let other: MeshService = MeshService {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some("other".to_owned()),
                ..service.metadata.clone()
            },
            ..service.clone()
        };
        let first = build([&service, &other], [], Arc::default(), &mut carry);
        carry.remake(&("default".to_owned(), "web".to_owned()), Some(&service), &[slice("1", 1, 1, &json!({}))], &Settings::default());
        let second = carry.table(Arc::default());
        let same = |name: &str| {
            let of = |table: &RouteTable| table.services.iter().find(|service| service.name == name).unwrap().clone();
            Arc::ptr_eq(&of(&first), &of(&second))
        };
        assert!(same("other") && !same("web"));
        assert_eq!(second.of("a", "/").unwrap().service.name, "other", "of the same age, by name");
        carry.remake(&("default".to_owned(), "other".to_owned()), None, [], &Settings::default());
        assert_eq!(carry.table(Arc::default()).of("a", "/").unwrap().service.ready.len(), 1);
    }

    #[test]
    fn a_service_that_is_gone_gets_nothing_and_its_instances_are_still_drained() {
        let ending = slice("1", 1, 1, &json!({ "ready": false, "serving": true, "terminating": true }));
        let table = build([], [&ending], Arc::default(), &mut carry());
        assert!(table.of("a", "/").is_none());
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
