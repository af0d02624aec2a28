//! From an instance to the `EndpointSlice` that routers read. One slice per instance, because on a VM each instance has a port of its own;
//! it is owned by the instance, so it lives until the last request has been drained.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};

use mesh_api::{
    MeshInstance,
    conditions::{instance::READY, is_true},
    labels, names,
};

/// The slice of an instance; none while it has no address.
pub fn slice(instance: &MeshInstance, now: Timestamp) -> Option<EndpointSlice> {
    let status = instance.status.as_ref()?;
    let address: SocketAddr = status.address.as_ref()?.parse().ok()?;
    let serving = is_true(&status.conditions, READY);
    let terminating = instance.metadata.deletion_timestamp.is_some();
    let endpoint = Endpoint {
        addresses: vec![address.ip().to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(serving && !terminating),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        node_name: Some(instance.spec.node_name.clone()),
        target_ref: Some(target(instance)),
        ..Endpoint::default()
    };
    let port = EndpointPort {
        name: Some(names::PORT_NAME.to_owned()),
        port: Some(i32::from(address.port())),
        protocol: Some("TCP".to_owned()),
        ..EndpointPort::default()
    };
    Some(EndpointSlice {
        metadata: ObjectMeta {
            name: Some(instance.name_any()),
            namespace: instance.namespace(),
            labels: Some(slice_labels(instance)),
            annotations: Some(BTreeMap::from([(labels::SLICE_WRITTEN.to_owned(), format!("{now:.6}"))])),
            owner_references: instance.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        address_type: if address.is_ipv6() { "IPv6" } else { "IPv4" }.to_owned(),
        endpoints: Some(vec![endpoint]),
        ports: Some(vec![port]),
    })
}

fn target(instance: &MeshInstance) -> ObjectReference {
    ObjectReference {
        kind: Some(MeshInstance::kind(&()).into_owned()),
        namespace: instance.namespace(),
        name: Some(instance.name_any()),
        uid: instance.uid(),
        ..ObjectReference::default()
    }
}

fn slice_labels(instance: &MeshInstance) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::SLICE_SERVICE.to_owned(), instance.spec.service.clone()),
        (labels::SLICE_MANAGED_BY.to_owned(), labels::SLICE_MANAGER.to_owned()),
        (labels::APP_MANAGED_BY.to_owned(), labels::MANAGER.to_owned()),
    ])
}

/// Whether two slices say the same; the time of writing is not part of what they say.
pub fn same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    a.endpoints == b.endpoints && a.ports == b.ports && a.address_type == b.address_type && a.metadata.labels == b.metadata.labels
}

/// The instances that routers have been told of: by UID, and at which address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced(BTreeSet<(String, SocketAddr)>);

impl Announced {
    /// Those whose endpoint is ready in these slices.
    pub fn of(slices: &[EndpointSlice]) -> Self {
        Self(slices.iter().filter_map(announced).collect())
    }

    /// Whether an instance does its work, and its requests find it: it is ready, and where it serves, routers have been told of it as it
    /// is now. One that was made anew under the name of another, or got another port, has to be told of again.
    pub fn serves(&self, instance: &MeshInstance) -> bool {
        let Some(status) = &instance.status else { return false };
        is_true(&status.conditions, READY) && (!instance.spec.serves || self.has(instance))
    }

    fn has(&self, instance: &MeshInstance) -> bool {
        let address = instance.status.as_ref().and_then(|status| status.address.as_ref()?.parse().ok());
        instance.uid().zip(address).is_some_and(|entry| self.0.contains(&entry))
    }
}

fn announced(slice: &EndpointSlice) -> Option<(String, SocketAddr)> {
    let endpoint = slice.endpoints.as_ref()?.first()?;
    let port = u16::try_from(slice.ports.as_ref()?.first()?.port?).ok()?;
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let uid = endpoint.target_ref.as_ref()?.uid.clone()?;
    (endpoint.conditions.as_ref()?.ready == Some(true)).then(|| (uid, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{at, deleted, instance, ready, unready};
    use mesh_api::conditions::instance::PROBE_FAILED;

    #[test]
    fn an_endpoint_is_ready_serving_and_terminating_as_its_instance_is() {
        let new = || instance("b", 0);
        for (situation, instance, expected) in [
            ("ready", ready(new()), (true, true, false)),
            ("not ready", unready(new(), PROBE_FAILED, ""), (false, false, false)),
            ("draining", deleted(ready(new())), (false, true, true)),
            ("deleted before it was ready", deleted(unready(new(), PROBE_FAILED, "")), (false, false, true)),
        ] {
            let conditions = slice(&instance, at(130)).unwrap().endpoints.unwrap().remove(0).conditions.unwrap();
            let found = (conditions.ready.unwrap(), conditions.serving.unwrap(), conditions.terminating.unwrap());
            assert_eq!(found, expected, "{situation}");
        }
    }

    #[test]
    fn an_instance_serves_once_its_slice_says_so_as_it_is_now() {
        let web = ready(instance("b", 0));
        let slice_of = |instance: &MeshInstance| vec![slice(instance, at(130)).unwrap()];
        let mut worker = web.clone();
        worker.spec.serves = false;
        let (mut moved, mut renewed) = (web.clone(), web.clone());
        moved.status.as_mut().unwrap().address = Some("127.0.0.1:20001".to_owned());
        renewed.metadata.uid = Some("another".to_owned());
        let (failing, other) = (unready(instance("b", 0), PROBE_FAILED, ""), ready(instance("b", 1)));
        for (situation, instance, slices, expected) in [
            ("told", &web, slice_of(&web), true),
            ("no slice yet", &web, vec![], false),
            ("the slice is from before it was ready", &web, slice_of(&failing), false),
            ("the slice is of another port", &moved, slice_of(&web), false),
            ("the slice is of one that had its name", &renewed, slice_of(&web), false),
            ("another one's slice", &web, slice_of(&other), false),
            ("not ready any more", &failing, slice_of(&web), false),
            ("a worker has no slice", &worker, vec![], true),
        ] {
            assert_eq!(Announced::of(&slices).serves(instance), expected, "{situation}");
        }
    }

    #[test]
    fn an_instance_without_an_address_has_no_slice() {
        assert_eq!(slice(&instance("b", 0), at(130)), None);
    }

    #[test]
    fn a_slice_names_its_service_its_owner_and_the_address_in_its_family() {
        let mut web = ready(instance("b", 0));
        for (address, family, ip) in [("127.0.0.1:20000", "IPv4", "127.0.0.1"), ("[::1]:20000", "IPv6", "::1")] {
            web.status.as_mut().unwrap().address = Some(address.to_owned());
            let slice = slice(&web, at(130)).unwrap();
            let endpoint = &slice.endpoints.as_ref().unwrap()[0];
            assert_eq!((slice.address_type.as_str(), endpoint.addresses.as_slice()), (family, &[ip.to_owned()][..]));
            assert_eq!(slice.ports.unwrap()[0].port, Some(20000));
            assert_eq!(slice.metadata.labels.unwrap()[labels::SLICE_SERVICE], "web");
            assert_eq!(slice.metadata.owner_references.unwrap()[0].uid, "b0");
        }
    }

    #[test]
    fn the_time_of_writing_makes_no_difference_and_the_conditions_do() {
        let web = ready(instance("b", 0));
        let slice_at = |instance: &MeshInstance, second| slice(instance, at(second)).unwrap();
        assert!(same(&slice_at(&web, 130), &slice_at(&web, 131)));
        assert!(!same(&slice_at(&web, 130), &slice_at(&deleted(web.clone()), 130)));
    }
}
