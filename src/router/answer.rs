//! What the router answers itself: a closed set, each with a status, a name for programs (`x-mesh-error`) and a line for people. Pure.
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};

use super::{gate::Reject, table::path::Ambiguous};

const ERROR: HeaderName = HeaderName::from_static("x-mesh-error");
const SERVICE: HeaderName = HeaderName::from_static("x-mesh-service");

/// Why a request got no answer of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The head can be read in several ways, or not at all.
    #[error("{0}")]
    Head(#[from] Reject),
    /// The path can be read in several ways.
    #[error("{0}")]
    Path(#[from] Ambiguous),
    /// The body of the request.
    #[error("the body of the request is malformed or was cut short")]
    RequestBody,
    /// No service claims it.
    #[error("no route")]
    NoRoute,
    /// The router has not seen the services yet.
    #[error("the router has not learned the services yet")]
    NotSynced,
    /// None of the service's endpoints may get it.
    #[error("no ready endpoint")]
    NoReadyEndpoint,
    /// No endpoint that was tried took the connection.
    #[error("no connection to an instance")]
    ConnectFailed,
    /// The router could make no connection, whoever it was to.
    #[error("the router has run out of what it needs for a connection")]
    Exhausted,
    /// The connection to the instance ended before its response.
    #[error("the instance closed the connection before it answered; the request was not sent to another")]
    UpstreamClosed,
    /// The same, and it takes no new one.
    #[error("the instance ended while it had the request, which was not sent to another")]
    UpstreamEnded,
    /// What the instance sent is no HTTP, or an upgrade that was not asked for.
    #[error("the instance's answer is malformed")]
    UpstreamProtocol,
    /// Its framing can be read in two ways, or is of a kind that is not passed on.
    #[error("the instance's answer has both Content-Length and Transfer-Encoding, or a Transfer-Encoding that is not exactly chunked")]
    UpstreamFraming,
    /// Its head.
    #[error("the head of the instance's answer is too large, or has more than 100 fields")]
    UpstreamHead,
    /// The response did not come in time.
    #[error("the instance did not answer in time")]
    UpstreamTimeout,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Head(Reject::TooLarge | Reject::TooManyFields) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Head(Reject::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Head(Reject::Connect) => StatusCode::NOT_IMPLEMENTED,
            Self::Head(Reject::Version) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Head(_) | Self::Path(_) | Self::RequestBody => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NotSynced | Self::NoReadyEndpoint | Self::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectFailed
            | Self::UpstreamClosed
            | Self::UpstreamEnded
            | Self::UpstreamProtocol
            | Self::UpstreamFraming
            | Self::UpstreamHead => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The name in `x-mesh-error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head(_) => "BadRequestHead",
            Self::Path(_) => "AmbiguousPath",
            Self::RequestBody => "BadRequestBody",
            Self::NoRoute => "NoRoute",
            Self::NotSynced => "NotSynced",
            Self::NoReadyEndpoint => "NoReadyEndpoint",
            Self::ConnectFailed => "ConnectFailed",
            Self::Exhausted => "Exhausted",
            Self::UpstreamClosed => "UpstreamClosed",
            Self::UpstreamEnded => "UpstreamEnded",
            Self::UpstreamProtocol | Self::UpstreamFraming | Self::UpstreamHead => "UpstreamProtocol",
            Self::UpstreamTimeout => "UpstreamTimeout",
        }
    }

    /// The answer; `service` is `namespace/name`, where one was found. The body of a request that got none is not read to its end, so no other
    /// request can follow it on the connection, and the client is told (RFC 9112, 9.6).
    pub fn answer(self, service: Option<&HeaderValue>, has_body: bool) -> Response<Bytes> {
        let status = self.status();
        let place = service.and_then(|label| label.to_str().ok()).map(|label| format!(" for {label}")).unwrap_or_default();
        let mut response = Response::new(Bytes::from(format!("mesh: {} {self}{place}\n", status.as_u16())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(ERROR, HeaderValue::from_static(self.name()));
        if let Some(label) = service {
            headers.insert(SERVICE, label.clone());
        }
        if matches!(self, Self::NotSynced | Self::NoReadyEndpoint | Self::Exhausted) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if has_body || matches!(self, Self::Head(_) | Self::RequestBody) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_and_for_whom() {
        let response = Refusal::NoReadyEndpoint.answer(Some(&HeaderValue::from_static("default/api")), false);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-mesh-service"], "default/api");
        assert_eq!(response.headers()["x-mesh-error"], "NoReadyEndpoint");
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.body(), "mesh: 503 no ready endpoint for default/api\n");
        assert_eq!(Refusal::NoRoute.answer(None, false).body(), "mesh: 404 no route\n");
        assert_eq!(Refusal::from(Reject::SeveralHosts).answer(None, false).headers()["connection"], "close");
        assert_eq!(Refusal::NoRoute.answer(None, true).headers()["connection"], "close", "what follows the unread body is no request");
    }
}
