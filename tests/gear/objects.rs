//! Services and slices as a router sees them.
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mesh_api::MeshService;
use serde_json::{Value, json};

use super::instance::Instance;

/// A service in `default`; it takes `/` unless `spec` has a route.
pub fn service(name: &str, spec: Value) -> MeshService {
    let mut all = json!({ "command": ["x"], "route": "/" });
    if spec.get("routes").is_some() {
        all.as_object_mut().unwrap().remove("route");
    }
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let metadata =
        json!({ "name": name, "namespace": "default", "uid": format!("uid-{name}"), "creationTimestamp": "2026-01-01T00:00:00Z" });
    serde_json::from_value(
        json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": metadata, "spec": all }),
    )
    .unwrap()
}

/// Conditions of an endpoint: (ready, serving, terminating).
pub type Conditions = (bool, bool, bool);
pub const READY: Conditions = (true, true, false);
pub const UNREADY: Conditions = (false, false, false);
pub const ENDING: Conditions = (false, true, true);

/// A slice of `default/<service>` for one instance.
pub fn slice(service: &str, instance: &Instance, (ready, serving, terminating): Conditions, revision: u64) -> EndpointSlice {
    serde_json::from_value(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-mesh-{}", instance.name), "namespace": "default", "resourceVersion": revision.to_string(),
            "labels": { "kubernetes.io/service-name": service, "app.kubernetes.io/managed-by": "mesh-controller" },
        },
        "ports": [{ "port": instance.address.port() }],
        "endpoints": [{
            "addresses": [instance.address.ip().to_string()],
            "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
            "nodeName": "n1",
            "targetRef": { "kind": "MeshInstance", "namespace": "default", "name": instance.name, "uid": format!("uid-{}", instance.name) },
        }],
    }))
    .unwrap()
}

pub fn ready(instances: &[&Instance]) -> Vec<EndpointSlice> {
    instances.iter().map(|instance| slice("web", instance, READY, 1)).collect()
}
