//! A request as every handler sees it: parsed, its body collected, its sender known.
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::{
    accept::Form,
    decode::{self, DecodeError, Decoded},
    path::Path,
    query::Query,
    status::ApiError,
};

/// The largest body, as Kubernetes has it.
const BODY_LIMIT: usize = 3 << 20;

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `mesh-admin`, `system:mesh-controller`
    pub name: String,
    /// `system:masters` may do everything; there is nobody else yet.
    pub groups: Vec<String>,
}

impl User {
    /// The process itself, through its in-process client.
    pub(crate) fn internal() -> Self {
        Self { name: "system:mesh-controller".to_owned(), groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()] }
    }
}

/// A parsed request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: Path,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) user: User,
}

impl Request {
    /// Parses the head and reads the body.
    pub(crate) async fn read<B>(request: http::Request<B>, user: User) -> Result<Self, ApiError>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let path = Path::parse(head.uri.path());
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let body = if head.method == Method::GET || head.method == Method::HEAD { Bytes::new() } else { collect(body).await? };
        Ok(Self { method: head.method, path, query, headers: head.headers, body, user })
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The form in which the answer is wanted.
    pub(crate) fn form(&self) -> Result<Form, ApiError> {
        Form::parse(self.header(header::ACCEPT))
    }

    /// The media type of the body, without parameters.
    pub(crate) fn media_type(&self) -> Option<&str> {
        self.header(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).map(str::trim)
    }

    /// The body as one value; `kind` is what was to come, for the error's text.
    pub(crate) fn decode(&self, kind: &str) -> Result<Decoded, ApiError> {
        decode::body(self.media_type(), &self.body).map_err(|error| match error {
            DecodeError::MediaType => {
                ApiError::unsupported_media_type("application/json, application/yaml, application/vnd.kubernetes.protobuf")
            }
            DecodeError::Malformed { .. } | DecodeError::Yaml(_) => ApiError::bad_request(error.for_kind(kind)),
        })
    }

    /// Who is recorded in `managedFields`: the parameter, else the user agent up to its slash.
    pub(crate) fn field_manager(&self) -> String {
        let agent = || self.header(header::USER_AGENT).and_then(|agent| agent.split('/').next()).filter(|name| !name.is_empty());
        let manager: String = self.query.get("fieldManager").or_else(agent).unwrap_or("unknown").chars().take(128).collect();
        manager
    }
}

async fn collect<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}
