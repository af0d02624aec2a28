//! A request in the place of a program.
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::Duration;

/// A request to an instance of a service that is ready. A run succeeds by an answer of the class 2xx; anything else is a try that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpTask {
    /// The `MeshService`, in the task's namespace.
    #[schemars(length(min = 1, max = 48))]
    pub service: String,
    /// The path that is asked, with a query if wanted: `/jobs/run?kind=nightly`.
    pub path: RequestPath,
    /// The method.
    #[serde(default)]
    pub method: HttpMethod,
    /// Header fields of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub headers: Vec<HttpField>,
    /// The body of the request, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub body: Option<String>,
    /// How long the answer may take: at least `1ms`.
    #[serde(default = "half_a_minute")]
    #[x_kube(validation = Rule::new("self.matches('[1-9]')").message("timeout is how long the answer may take: at least 1ms, for example 30s"))]
    pub timeout: Duration,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// The path of a request and its query, in the form of RFC 3986: path-absolute, perhaps `?` and a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestPath(pub String);

impl JsonSchema for RequestPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestPath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "maxLength": 2048,
            "x-kubernetes-validations": [
                { "rule": "self.startsWith('/') && !self.startsWith('//')", "message": "path begins with one slash, for example /jobs/run?kind=nightly" },
                { "rule": "self.matches('^([-A-Za-z0-9._~!$&()*+,;=:@/?\\x27]|%[0-9A-Fa-f][0-9A-Fa-f])*$')",
                  "message": "path is a path with a query if wanted, without a fragment (#) and white space: write any other character as its %-escapes, a space as %20" },
            ],
        })
    }
}

/// The methods of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// Reads.
    Get,
    /// Acts.
    #[default]
    Post,
    /// Puts something in its place.
    Put,
    /// Removes.
    Delete,
}

impl HttpMethod {
    /// As it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A header field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HttpField {
    /// Its name.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096), regex(pattern = r"^[^\x00-\x08\x0a-\x1f\x7f]*$"))]
    pub value: String,
}
