//! A request in the place of a program.
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{duration::Duration, service::RoutePath};

/// A request to an instance of a service that is ready. A run succeeds by an answer of the class 2xx; anything else is a try that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpTask {
    /// The `MeshService`, in the task's namespace.
    #[schemars(length(min = 1, max = 48))]
    pub service: String,
    /// The path that is asked.
    pub path: RoutePath,
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
    /// How long the answer may take.
    #[serde(default = "half_a_minute")]
    pub timeout: Duration,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
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
