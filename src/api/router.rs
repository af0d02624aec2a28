//! `MeshRouter`: how the routers of that name take and pass on requests.
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::Duration, env::ObjectRef};

/// How the routers of that name take and pass on requests.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mesh-controller.dev",
    version = "v1alpha1",
    kind = "MeshRouter",
    plural = "meshrouters",
    singular = "meshrouter",
    shortname = "mr",
    category = "mesh",
    namespaced,
    derive = "PartialEq",
    doc = "A MeshRouter holds the settings of the routers of its name. One named default is made in mesh-system.",
    printcolumn(name = "Trusted Proxies", type_ = "string", json_path = ".spec.trustedProxies"),
    printcolumn(name = "Cookie Keys", type_ = "string", json_path = ".spec.cookieKeys.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MeshRouterSpec {
    /// The `Secret` in the same namespace whose data are the keys of the affinity cookie, key id to at least 32 bytes.
    /// All of them verify; the one whose id sorts last signs. To rotate, add one, and later remove the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_keys: Option<ObjectRef>,
    /// Peers whose X-Forwarded-* headers are believed, as CIDRs; from others these headers are replaced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    #[x_kube(validation = Rule::new("self.all(x, isCIDR(x))").message("each of trustedProxies is a CIDR, for example 10.0.0.0/8"))]
    pub trusted_proxies: Vec<String>,
    /// Time limits, where a service gives none of its own.
    #[serde(default)]
    pub timeouts: RouterTimeouts,
    /// Connections from clients that are held at the same time; fewer if the limit of file descriptors does not allow so many. For one more, the one that has been
    /// idle longest is closed; if none is idle, the new one.
    #[serde(default = "max_connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: i32,
}

fn max_connections() -> i32 {
    10_000
}

/// Time limits of a router; `0s` means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterTimeouts {
    /// For a connection to an instance.
    #[serde(default = "connect")]
    pub connect: Duration,
    /// For a client to send a request's head.
    #[serde(default = "header")]
    pub request_header: Duration,
    /// From a request's head to the head of its response.
    #[serde(default = "request")]
    pub request: Duration,
    /// How long a connection without a request is kept.
    #[serde(default = "idle")]
    pub idle: Duration,
    /// How long a client that takes nothing of what it is sent is waited for. What it takes earns it more time, a second for each KiB.
    #[serde(default = "send")]
    pub send: Duration,
    /// How long an upgraded connection (WebSocket) may be silent in both directions.
    #[serde(default = "upgrade_idle")]
    pub upgrade_idle: Duration,
}

fn connect() -> Duration {
    Duration::from_secs(2)
}

fn header() -> Duration {
    Duration::from_secs(30)
}

fn request() -> Duration {
    Duration::from_secs(60)
}

fn idle() -> Duration {
    Duration::from_secs(75)
}

fn send() -> Duration {
    Duration::from_secs(60)
}

fn upgrade_idle() -> Duration {
    Duration::from_secs(3600)
}

impl Default for RouterTimeouts {
    fn default() -> Self {
        Self { connect: connect(), request_header: header(), request: request(), idle: idle(), send: send(), upgrade_idle: upgrade_idle() }
    }
}
