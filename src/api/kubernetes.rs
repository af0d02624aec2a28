//! What only Kubernetes is told of a service. The other backends leave it alone, as Kubernetes leaves `spec.podman` alone.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What only Kubernetes is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesOptions {
    /// Merged into the pods' template, for what a MeshService has no field for: `nodeSelector`, `tolerations`, a second container, annotations.
    /// Lists merge by name as in `kubectl patch`; the service's own container is called `app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplatePatch>,
    /// Makes a second, headless Service `<name>-headless`, whose name resolves to the addresses of all pods.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headless_service: bool,
    /// Where requests are kept close to their origin: `PreferSameZone`, `PreferSameNode` or `PreferClose`, as in a Service. The router follows it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
}

/// Where requests are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficDistribution {
    /// In the zone that they come from (Kubernetes 1.34 or later).
    PreferSameZone,
    /// On the node that they come from (Kubernetes 1.34 or later).
    PreferSameNode,
    /// The older name of `PreferSameZone`.
    PreferClose,
}

/// Where programs in a cluster find the mesh, as URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Door {
    /// The agent's Service.
    pub agent: String,
    /// The routers' Service; none: there are no routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
}

/// A part of a PodTemplateSpec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodTemplatePatch(pub Value);

impl JsonSchema for PodTemplatePatch {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PodTemplatePatch".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}
