//! Probes, with the names, units and defaults of Kubernetes core.
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A check that is made again and again: exactly one of `httpGet`, `tcpSocket` and `exec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.httpGet), has(self.tcpSocket), has(self.exec)].filter(x, x).size() == 1").message("give exactly one of httpGet, tcpSocket and exec"))]
pub struct Probe {
    /// An HTTP GET; passes on a status of 200 to 399. Redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// Passes if a TCP connection can be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// Passes if a command exits with 0; it has the environment and working directory of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Seconds after the start before the first check.
    #[serde(default)]
    #[schemars(range(min = 0, max = 86400))]
    pub initial_delay_seconds: i32,
    /// Seconds between checks. Until the first success, checks of a started instance are more frequent.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 86400))]
    pub period_seconds: i32,
    /// Seconds after which a check has failed.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: i32,
    /// Successes in a row after a failure for the probe to pass.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub success_threshold: i32,
    /// Failures in a row after a success for the probe to fail.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100_000))]
    pub failure_threshold: i32,
}

fn one() -> i32 {
    1
}

fn three() -> i32 {
    3
}

fn ten() -> i32 {
    10
}

impl Probe {
    /// The probe that `healthPath` stands for: an HTTP GET with the defaults.
    pub fn http(path: &str) -> Self {
        Self {
            http_get: Some(HttpGetAction { path: path.to_owned(), port: None, http_headers: Vec::new() }),
            tcp_socket: None,
            exec: None,
            initial_delay_seconds: 0,
            period_seconds: ten(),
            timeout_seconds: one(),
            success_threshold: one(),
            failure_threshold: three(),
        }
    }
}

/// An HTTP GET to the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetAction {
    /// The path, with its query if it has one.
    #[serde(default = "root")]
    #[schemars(regex(pattern = r"^/[^\x00-\x20\x7f]*$"))]
    pub path: String,
    /// The port; the instance's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
    /// Headers to send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<HttpHeader>,
}

fn root() -> String {
    "/".to_owned()
}

/// A header of an HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpHeader {
    /// The field's name.
    #[schemars(regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: String,
    /// Its value.
    #[schemars(regex(pattern = r"^[^\x00-\x08\x0a-\x1f\x7f]*$"))]
    pub value: String,
}

/// A TCP connection to the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct TcpSocketAction {
    /// The port; the instance's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortNumber>,
}

/// A command beside the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecAction {
    /// The argument vector; no shell.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
}

/// A TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortNumber(pub u16);

impl JsonSchema for PortNumber {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PortNumber".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 })
    }
}

/// `3` or `"25%"` of a number of replicas; rounded up or down as the Deployment's rules say.
pub fn share(value: &IntOrString, of: u32, round_up: bool) -> u32 {
    match value {
        IntOrString::Int(count) => u32::try_from(*count).unwrap_or(0),
        IntOrString::String(percent) => {
            let percent: u64 = percent.trim_end_matches('%').parse().unwrap_or(0);
            let scaled = percent * u64::from(of);
            let count = if round_up { scaled.div_ceil(100) } else { scaled / 100 };
            u32::try_from(count).unwrap_or(u32::MAX)
        }
    }
}
