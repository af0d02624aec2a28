//! What went wrong, for the program and for who reads its log: problem details (RFC 9457). A problem with the input names the field and what would be right.
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::answer::{self, Body};
use mesh_coordination::locks::{Holding, Loss, Refusal};

/// A refused request. Boxed inside: results stay small.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    members: Map<String, Value>,
}

impl Problem {
    fn new(status: StatusCode, slug: &str, title: &str, detail: impl Into<String>) -> Self {
        let members = json!({
            "type": format!("https://mesh-controller.dev/problems/{slug}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail.into(),
        });
        let Value::Object(members) = members else { return Self(Box::new(Inner { status, members: Map::new() })) };
        Self(Box::new(Inner { status, members }))
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// Something that was sent is wrong: where, what, and what would be right.
    pub(crate) fn invalid(field: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let detail = format!("{field}: {}", detail.into());
        Self::new(StatusCode::BAD_REQUEST, "invalid", "The request is not valid", detail).with("field", field).with("remedy", remedy.into())
    }

    /// Nobody who is known here.
    pub(crate) fn unauthorized(detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid token", detail).with("remedy", remedy.into())
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub(crate) fn method(allowed: &'static str) -> Self {
        let detail = format!("this path knows {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail).with("allow", allowed)
    }

    pub(crate) fn too_large(most: usize) -> Self {
        let detail = format!("the body is longer than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Request too large", detail)
    }

    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests", detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
    }

    /// Why a lock or the lead is not had. `what` is what was asked for, in words.
    pub(crate) fn refused(what: &str, refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Held(holding) => Self::held(what, holding),
            Refusal::Lost(loss) => Self::lost(what, *loss),
            Refusal::Busy => Self::busy(format!("{what}: too many wait for it; try again later")),
            Refusal::Unavailable(why) => Self::unavailable(format!("{what}: {why}")),
            Refusal::Refused(why) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", "Refused by what keeps the locks", format!("{what}: {why}"))
            }
        }
    }

    fn held(what: &str, holding: &Holding) -> Self {
        let detail = format!("{what} is held by {}", holding.instance());
        let this = Self::new(StatusCode::CONFLICT, "held", "Held by another", detail).with("holder", holding.instance());
        this.with("expiresAt", holding.expires().to_string())
    }

    fn lost(what: &str, loss: Loss) -> Self {
        let detail = format!("{what} is not held with this fence: {loss}");
        Self::new(StatusCode::CONFLICT, "lost", "Not held any more", detail).with("reason", loss.as_str())
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Object(self.0.members.clone())
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let Inner { status, members } = *self.0;
        let allow = members.get("allow").and_then(Value::as_str).and_then(|allow| HeaderValue::from_str(allow).ok());
        let mut response = answer::bytes(status, "application/problem+json", Value::Object(members).to_string());
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}
