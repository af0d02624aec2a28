//! ConfigMaps, Secrets and claims as they are printed: what a person wrote, without what an API added.
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::ObjectMeta;
use serde_json::{Value, json};

/// A ConfigMap.
pub(super) fn config_map(map: &ConfigMap) -> Value {
    let map = ConfigMap { metadata: written(&map.metadata), ..map.clone() };
    serde_json::to_value(map).unwrap_or_default()
}

/// A Secret, with its values.
pub(super) fn secret(secret: &Secret) -> Value {
    let secret = Secret { metadata: written(&secret.metadata), ..secret.clone() };
    serde_json::to_value(secret).unwrap_or_default()
}

/// The command that makes a Secret, without its values.
pub(super) fn secret_command(name: &str, secret: Option<&Secret>) -> String {
    let Some(secret) = secret else { return format!("kubectl create secret generic {name} --from-literal=KEY=VALUE") };
    match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => {
            format!("kubectl create secret docker-registry {name} --docker-server=HOST --docker-username=USER --docker-password=PASSWORD")
        }
        Some("kubernetes.io/tls") => format!("kubectl create secret tls {name} --cert=FILE --key=FILE"),
        _ => {
            let keys = secret.data.iter().flatten().map(|(key, _)| format!(" --from-file={key}=FILE"));
            format!("kubectl create secret generic {name}{}", keys.collect::<String>())
        }
    }
}

/// A claim of a usual size.
pub(super) fn claim(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

fn written(metadata: &ObjectMeta) -> ObjectMeta {
    let annotations: BTreeMap<_, _> =
        metadata.annotations.clone().into_iter().flatten().filter(|(key, _)| !key.starts_with("kubectl.kubernetes.io/")).collect();
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        labels: metadata.labels.clone().filter(|labels| !labels.is_empty()),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    }
}
