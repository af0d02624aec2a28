//! Which request is what.
use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    answer::{self, Body},
    ask,
    caller::Gate,
    held::{self, Held},
    problem::Problem,
};
use mesh_coordination::{
    locks::{Key, Kind, Locks},
    token::Caller,
};

/// What there is. A test holds it to what is answered.
const OPENAPI: &str = include_str!("openapi.json");
/// The longest body.
const BODY: usize = 64 * 1024;
/// How long one may take to arrive.
const ARRIVES: Duration = Duration::from_secs(10);
/// While the locks are read for the first time.
const READING: Duration = Duration::from_secs(5);

/// What is behind the door.
#[derive(Debug, Clone)]
pub struct Door {
    /// Lets programs in.
    pub gate: Gate,
    /// Locks and leaders.
    pub locks: Locks,
}

impl Door {
    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        Ok(self.route(request).await.unwrap_or_else(Problem::into_response))
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        let (parts, body) = request.into_parts();
        // First: who is answered while it still sends may find the connection closed in the place of the answer.
        let body = read(body).await?;
        let segments: Vec<&str> = parts.uri.path().split('/').skip(1).collect();
        if let ["v1", "openapi.json"] = *segments {
            return if parts.method == Method::GET {
                Ok(answer::bytes(StatusCode::OK, "application/json", OPENAPI))
            } else {
                Err(Problem::method("GET"))
            };
        }
        let &["v1", resource, ref rest @ ..] = segments.as_slice() else { return Err(unknown(&parts)) };
        let held_open = parts.method == Method::POST || wants_events(&parts.headers);
        let (caller, place) = self.gate.enter(&parts.headers, held_open).await?;
        let mut answer = self.of_caller(caller, resource, rest, &parts, &body).await?;
        // It is kept as long as the answer goes on.
        if let Some(place) = place {
            answer.extensions_mut().insert(Arc::new(place));
        }
        Ok(answer)
    }

    async fn of_caller(
        &self,
        caller: Caller,
        resource: &str,
        rest: &[&str],
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Problem> {
        let kind = match (resource, rest) {
            ("self", []) if parts.method == Method::GET => return Ok(answer::json(StatusCode::OK, &myself(&caller))),
            ("self", []) => return Err(Problem::method("GET")),
            ("locks", _) => Kind::Lock,
            ("leaders", _) => Kind::Leader,
            _ => return Err(unknown(parts)),
        };
        if !self.locks.ready(READING).await {
            return Err(Problem::unavailable("the locks were not read yet: what keeps them does not answer this agent"));
        }
        match rest {
            [] if parts.method == Method::GET => held::list(&self.locks, &caller.namespace, kind).await,
            [] => Err(Problem::method("GET")),
            [segment] => {
                let key = Key { namespace: caller.namespace.clone(), kind, name: ask::name(kind, segment)? };
                let held = Held { locks: self.locks.clone(), caller, key };
                let events = wants_events(&parts.headers);
                match parts.method {
                    Method::POST if events => held.acquire_events(body).await,
                    Method::POST => held.acquire(body).await,
                    Method::PUT => held.renew(body).await,
                    Method::DELETE => held.release(parts.uri.query()).await,
                    Method::GET if events => held.look_events(parts.uri.query()).await,
                    Method::GET => held.look().await,
                    _ => Err(Problem::method("GET, POST, PUT, DELETE")),
                }
            }
            _ => Err(unknown(parts)),
        }
    }
}

fn unknown(parts: &Parts) -> Problem {
    Problem::not_found(format!("there is no {} here; GET /v1/openapi.json says what there is", parts.uri.path()))
}

fn myself(caller: &Caller) -> serde_json::Value {
    let Caller { namespace, service, session } = caller;
    json!({ "namespace": namespace, "service": service, "instance": session.instance, "attempt": session.attempt })
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|part| part.split(';').next().is_some_and(|part| part.trim() == "text/event-stream"))
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    match timeout(ARRIVES, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::too_large(BODY)),
        Ok(Err(error)) => Err(Problem::invalid("body", error.to_string(), "a whole body")),
        Err(_) => Err(Problem::invalid("body", "it did not arrive in time", "a whole body within 10 s")),
    }
}
