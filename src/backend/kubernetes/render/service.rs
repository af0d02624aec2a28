//! The Services: a name and an address, and where asked for a name for the addresses of all pods.
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{meta, port};
use mesh_api::{MeshService, kubernetes::TrafficDistribution, labels, names::PORT_NAME};

pub(super) fn services(service: &MeshService) -> Vec<Service> {
    let port = port(&service.spec);
    let asked = service.spec.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.headless_service);
    port.map(|port| cluster(service, port)).into_iter().chain(asked.then(|| headless(service, port))).collect()
}

fn cluster(service: &MeshService, port: u16) -> Service {
    let kubernetes = service.spec.kubernetes.as_ref();
    Service {
        metadata: meta::meta(service, service.name_any(), meta::labels(service)),
        spec: Some(ServiceSpec {
            selector: Some(meta::selected(service)),
            ports: Some(vec![service_port(port)]),
            type_: Some("ClusterIP".to_owned()),
            traffic_distribution: kubernetes.and_then(|kubernetes| kubernetes.traffic_distribution).map(distribution),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Routers look for slices by the labels that a Service's slices take over from it; this one's must not be found a second time.
fn headless(service: &MeshService, port: Option<u16>) -> Service {
    let mut labels = meta::application(service);
    labels.insert(labels::APP_COMPONENT.to_owned(), "headless".to_owned());
    Service {
        metadata: meta::meta(service, format!("{}-headless", service.name_any()), labels),
        spec: Some(ServiceSpec {
            selector: Some(meta::selected(service)),
            ports: port.map(|port| vec![service_port(port)]),
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The same number as in the pod, so that `http://backend:8080` is the same address as on Podman.
fn service_port(port: u16) -> ServicePort {
    ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

fn distribution(distribution: TrafficDistribution) -> String {
    match distribution {
        TrafficDistribution::PreferSameZone => "PreferSameZone",
        TrafficDistribution::PreferSameNode => "PreferSameNode",
        TrafficDistribution::PreferClose => "PreferClose",
    }
    .to_owned()
}
