//! The routes of a service as an Ingress, whose `Prefix` matches on borders of segments as our routes do.
use std::{collections::BTreeMap, net::IpAddr};

use kube::ResourceExt;
use serde_json::{Value, json};

use mesh_api::{MeshService, labels, names::PORT_NAME};
use mesh_plan::routes::{Claim, claims};

/// None for a service without routes that an Ingress can have.
pub(super) fn ingress(service: &MeshService) -> Option<Value> {
    let name = service.name_any();
    let mut hosts: BTreeMap<Option<String>, Vec<Value>> = BTreeMap::new();
    for claim in claims(&service.spec).into_iter().filter(|claim| !is_address(claim)) {
        let path = if claim.prefix.is_empty() { "/".to_owned() } else { claim.prefix };
        let backend = json!({"service": {"name": name, "port": {"name": PORT_NAME}}});
        hosts.entry(claim.hostname).or_default().push(json!({"path": path, "pathType": "Prefix", "backend": backend}));
    }
    let rules: Vec<Value> = hosts.into_iter().map(|(host, paths)| rule(host, &paths)).collect();
    let part_of = service.labels().get(labels::APP_PART_OF).map(|app| (labels::APP_PART_OF, app.as_str()));
    let labels: BTreeMap<_, _> =
        [(labels::APP_NAME, name.as_str()), (labels::APP_INSTANCE, name.as_str())].into_iter().chain(part_of).collect();
    (!rules.is_empty()).then(|| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": service.namespace(), "labels": labels},
            "spec": {"rules": rules},
        })
    })
}

/// An Ingress has names for hosts only.
pub(super) fn is_address(claim: &Claim) -> bool {
    claim.hostname.as_ref().is_some_and(|host| host.parse::<IpAddr>().is_ok())
}

fn rule(host: Option<String>, paths: &[Value]) -> Value {
    let http = json!({"paths": paths});
    match host {
        Some(host) => json!({"host": host, "http": http}),
        None => json!({"http": http}),
    }
}
