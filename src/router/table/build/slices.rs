//! From the slices of one service to its endpoints, each of them once. Pure. Slices are as a VM writes them (one for each instance) or as a cluster
//! does: many of them, an endpoint in two while it moves, one list for IPv4 and one for IPv6, several ports.
use std::{
    collections::{BTreeMap, HashSet, btree_map::Entry},
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube::ResourceExt;

use super::near::{Here, Hints};
use crate::endpoint::{Condition, InstanceRef};
use mesh_api::names::PORT_NAME;

/// What a slice's word about an endpoint weighs against another's: the end before all else, then the later write.
type Weight = (bool, u64);

/// One endpoint, reduced to what counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) instance: InstanceRef,
    pub(super) address: SocketAddr,
    pub(super) condition: Condition,
    pub(super) slice_revision: String,
    pub(super) hints: Hints,
    weight: Weight,
    /// IPv4 counts before IPv6.
    reach: (bool, Weight),
}

impl Seen {
    /// The same endpoint in another slice.
    fn join(&mut self, other: Self) {
        if other.weight > self.weight {
            (self.condition, self.slice_revision, self.weight) = (other.condition, other.slice_revision, other.weight);
        }
        if other.reach > self.reach {
            (self.address, self.hints, self.reach) = (other.address, other.hints, other.reach);
        }
    }
}

/// The endpoints in these slices of one service, in the order of their uids; `lost` are the nodes whose pods the cluster knows nothing of.
pub(super) fn endpoints<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>, here: &Here, lost: &HashSet<String>) -> Vec<Seen> {
    let mut all: BTreeMap<String, Seen> = BTreeMap::new();
    for slice in slices.into_iter().filter(|slice| slice.address_type != "FQDN") {
        let Some(port) = port(slice.ports.as_deref().unwrap_or_default()) else { continue };
        let revision = slice.resource_version().unwrap_or_default();
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(mut seen) = seen(endpoint, port, slice.metadata.namespace.as_deref(), &revision, here) else { continue };
            if seen.condition == Condition::Unready && endpoint.node_name.as_ref().is_some_and(|node| lost.contains(node)) {
                seen.condition = Condition::Stranded;
            }
            match all.entry(seen.instance.uid.clone()) {
                Entry::Vacant(new) => drop(new.insert(seen)),
                Entry::Occupied(mut known) => known.get_mut().join(seen),
            }
        }
    }
    all.into_values().collect()
}

/// The port called `http`, else the first; one slice may have another than the next.
fn port(ports: &[EndpointPort]) -> Option<u16> {
    let tcp = || ports.iter().filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    let number = |port: &EndpointPort| u16::try_from(port.port?).ok();
    tcp().filter(|port| port.name.as_deref() == Some(PORT_NAME)).find_map(number).or_else(|| tcp().find_map(number))
}

fn seen(endpoint: &Endpoint, port: u16, namespace: Option<&str>, revision: &str, here: &Here) -> Option<Seen> {
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let (address, condition) = (SocketAddr::new(ip, port), condition(endpoint));
    let target = endpoint.target_ref.as_ref();
    let instance = InstanceRef {
        namespace: target.and_then(|t| t.namespace.clone()).unwrap_or_else(|| namespace.unwrap_or_default().to_owned()),
        name: target.and_then(|t| t.name.clone()).unwrap_or_default(),
        uid: target.and_then(|t| t.uid.clone()).unwrap_or_else(|| address.to_string()),
        acknowledged: target.is_some_and(|t| t.kind.as_deref() == Some("MeshInstance") && t.uid.is_some()),
    };
    let weight = (condition.is_ending(), revision.parse().unwrap_or(0));
    let hints = Hints::of(endpoint.hints.as_ref(), here);
    Some(Seen { instance, address, condition, slice_revision: revision.to_owned(), hints, weight, reach: (ip.is_ipv4(), weight) })
}

/// What is not said: ready is true, serving is as ready, terminating is false (discovery/v1).
fn condition(endpoint: &Endpoint) -> Condition {
    let said = endpoint.conditions.as_ref();
    let ready = said.and_then(|c| c.ready).unwrap_or(true);
    match (said.and_then(|c| c.terminating).unwrap_or(false), said.and_then(|c| c.serving).unwrap_or(ready)) {
        (true, true) => Condition::Terminating,
        (true, false) => Condition::Ended,
        (false, _) if ready => Condition::Ready,
        (false, _) => Condition::Unready,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A slice of `default` in revision `revision` with one endpoint, a pod of uid `a` unless `endpoint` says otherwise.
    fn slice(family: &str, revision: u64, ports: &Value, address: &str, endpoint: &Value) -> EndpointSlice {
        let mut all = json!({ "addresses": [address], "targetRef": { "kind": "Pod", "namespace": "default", "name": "a", "uid": "a" } });
        endpoint.as_object().unwrap().iter().for_each(|(key, value)| all[key] = value.clone());
        serde_json::from_value(json!({
            "metadata": { "name": "web-x", "namespace": "default", "resourceVersion": revision.to_string() },
            "addressType": family, "ports": ports, "endpoints": [all],
        }))
        .unwrap()
    }

    fn found(slices: &[EndpointSlice]) -> Vec<(String, String, Condition)> {
        let seen = endpoints(slices, &Here::default(), &HashSet::new());
        seen.into_iter().map(|s| (s.instance.uid, s.address.to_string(), s.condition)).collect()
    }

    fn one(address: &str, condition: Condition) -> Vec<(String, String, Condition)> {
        vec![("a".to_owned(), address.to_owned(), condition)]
    }

    #[test]
    fn a_pod_in_several_slices_is_one_endpoint_whose_end_counts_before_the_rest_and_then_the_later_write() {
        let http = json!([{ "name": "http", "port": 80 }]);
        let v4 = |revision, conditions: Value| slice("IPv4", revision, &http, "10.1.0.1", &json!({ "conditions": conditions }));
        let v6 = |revision, conditions: Value| slice("IPv6", revision, &http, "fd00::1", &json!({ "conditions": conditions }));
        let (ready, unready) = (|| json!({ "ready": true }), || json!({ "ready": false }));
        let ending = || json!({ "ready": false, "serving": true, "terminating": true });
        let ended = || json!({ "ready": false, "serving": false, "terminating": true });
        let (four, six) = ("10.1.0.1:80", "[fd00::1]:80");
        for (situation, slices, expected) in [
            ("it moves, and the new slice is later", vec![v4(5, ready()), v4(10, unready())], one(four, Condition::Unready)),
            ("it moves, and the old slice was written later", vec![v4(10, ready()), v4(9, unready())], one(four, Condition::Ready)),
            ("it ends in the older slice only", vec![v4(5, ending()), v4(10, ready())], one(four, Condition::Terminating)),
            ("it ends in both, served until the later one", vec![v4(5, ending()), v4(10, ended())], one(four, Condition::Ended)),
            ("dual stack, IPv4 first", vec![v4(5, ready()), v6(10, ready())], one(four, Condition::Ready)),
            ("dual stack, IPv6 first", vec![v6(10, ready()), v4(5, ready())], one(four, Condition::Ready)),
            ("dual stack, IPv6 says first that it is not ready", vec![v4(5, ready()), v6(10, unready())], one(four, Condition::Unready)),
            ("dual stack, IPv6 alone says that it ends", vec![v6(3, ending()), v4(5, ready())], one(four, Condition::Terminating)),
            ("only IPv6", vec![v6(10, ready())], one(six, Condition::Ready)),
        ] {
            assert_eq!(found(&slices), expected, "{situation}");
        }
    }

    #[test]
    fn what_is_not_said_of_an_endpoint_is_as_the_api_has_it() {
        let http = json!([{ "name": "http", "port": 80 }]);
        for (conditions, expected) in [
            (json!(null), Condition::Ready),
            (json!({}), Condition::Ready),
            (json!({ "ready": null, "terminating": null }), Condition::Ready),
            (json!({ "ready": false }), Condition::Unready),
            (json!({ "ready": true, "serving": true, "terminating": true }), Condition::Terminating),
            (json!({ "terminating": true }), Condition::Terminating),
            (json!({ "ready": false, "terminating": true }), Condition::Ended),
        ] {
            let slice = slice("IPv4", 1, &http, "10.1.0.1", &json!({ "conditions": conditions }));
            assert_eq!(found(&[slice]), one("10.1.0.1:80", expected), "{conditions}");
        }
    }

    #[test]
    fn requests_go_to_the_port_called_http_else_to_the_first_one_and_slices_differ() {
        let of = |ports: Value| found(&[slice("IPv4", 1, &ports, "10.1.0.1", &json!({}))]);
        for (ports, port) in [
            (json!([{ "port": 8080 }]), Some(8080)),
            (json!([{ "name": "web", "port": 8080 }]), Some(8080)),
            (json!([{ "name": "metrics", "port": 9000 }, { "name": "http", "port": 8080 }]), Some(8080)),
            (json!([{ "name": "dns", "port": 53, "protocol": "UDP" }, { "name": "a", "port": 1 }, { "name": "b", "port": 2 }]), Some(1)),
            (json!([{ "name": "http", "port": 443, "protocol": "UDP" }, { "name": "http", "port": 8080, "protocol": "TCP" }]), Some(8080)),
            (json!([{ "name": "http" }]), None),
            (json!([]), None),
            (json!(null), None),
        ] {
            let expected = port.map(|port: u16| one(&format!("10.1.0.1:{port}"), Condition::Ready)).unwrap_or_default();
            assert_eq!(of(ports.clone()), expected, "{ports}");
        }
        let mut other = slice("IPv4", 2, &json!([{ "name": "http", "port": 81 }]), "10.1.0.2", &json!({}));
        other.endpoints.as_mut().unwrap()[0].target_ref.as_mut().unwrap().uid = Some("b".to_owned());
        let both = found(&[slice("IPv4", 1, &json!([{ "name": "http", "port": 80 }]), "10.1.0.1", &json!({})), other]);
        assert_eq!(both.iter().map(|(_, address, _)| address.as_str()).collect::<Vec<_>>(), ["10.1.0.1:80", "10.1.0.2:81"]);
    }

    #[test]
    fn names_are_left_out_and_an_endpoint_that_is_no_pod_is_known_by_its_address() {
        let http = json!([{ "name": "http", "port": 80 }]);
        assert_eq!(found(&[slice("FQDN", 1, &http, "db.example", &json!({}))]), []);
        assert_eq!(found(&[slice("IPv4", 1, &http, "db.example", &json!({}))]), []);
        let bare = slice("IPv4", 1, &http, "10.1.0.1", &json!({ "targetRef": null }));
        assert_eq!(found(&[bare]), [("10.1.0.1:80".to_owned(), "10.1.0.1:80".to_owned(), Condition::Ready)]);
    }
}
