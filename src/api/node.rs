//! `MeshNode`: a machine that runs instances. Its liveness is a Lease, never a heartbeat in this object.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probe::PortNumber;

/// A machine that runs instances.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mesh-controller.dev",
    version = "v1alpha1",
    kind = "MeshNode",
    plural = "meshnodes",
    singular = "meshnode",
    shortname = "mn",
    category = "mesh",
    status = "MeshNodeStatus",
    derive = "PartialEq",
    doc = "A MeshNode is a machine that runs instances. Its agent makes it.",
    printcolumn(name = "Backend", type_ = "string", json_path = ".status.backend"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Ports", type_ = "string", json_path = ".status.ports", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct MeshNodeSpec {
    /// No new instances are put here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unschedulable: bool,
}

/// What the node's agent says of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshNodeStatus {
    /// What runs the instances here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendKind>,
    /// The version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The range that instances get their ports from: `20000-29999`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// Ready; and UnknownInstances while instances run here that an earlier store has left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What runs the instances of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendKind {
    /// Plain processes.
    Process,
    /// Containers of Podman, or of another engine with Docker's API.
    Podman,
    /// Containers of Podman as units of systemd.
    Quadlet,
    /// Pods of a cluster. No node of ours runs them, so no MeshNode says this.
    #[serde(skip)]
    Kubernetes,
}

impl BackendKind {
    /// Whether instances are containers there.
    pub fn runs_containers(self) -> bool {
        match self {
            Self::Process => false,
            Self::Podman | Self::Quadlet | Self::Kubernetes => true,
        }
    }
}

/// A range of TCP ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub from: PortNumber,
    /// The last.
    pub to: PortNumber,
}

impl Default for PortRange {
    /// Below Linux's range of ephemeral ports, so that no outgoing connection sits on one of them.
    fn default() -> Self {
        Self { from: PortNumber(20_000), to: PortNumber(29_999) }
    }
}

impl std::fmt::Display for PortRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.from.0, self.to.0)
    }
}

impl std::str::FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| part.trim().parse::<u16>().ok().filter(|port| *port > 0);
        match text.split_once('-').map(|(from, to)| (parse(from), parse(to))) {
            Some((Some(from), Some(to))) if from <= to => Ok(Self { from: PortNumber(from), to: PortNumber(to) }),
            _ => Err(format!("{text:?} is no port range: write for example 20000-29999")),
        }
    }
}
