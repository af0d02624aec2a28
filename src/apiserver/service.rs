//! The server as a tower service: every request comes through here, from a socket or from the process itself.
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Response};
use tokio::time::Instant;

use crate::{
    body::{self, Body},
    discovery, health,
    metrics::Verb,
    openapi_routes,
    path::Path,
    request::{Request, User},
    rest,
    state::State,
    status::ApiError,
};

/// Answers requests of one user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiService {
    server: Arc<State>,
    user: User,
}

impl ApiService {
    pub(crate) fn new(server: Arc<State>, user: User) -> Self {
        Self { server, user }
    }
}

impl<B> tower::Service<http::Request<B>> for ApiService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (server, user) = (Arc::clone(&self.server), self.user.clone());
        async move { Ok(answer(&server, request, user).await) }.boxed()
    }
}

async fn answer<B>(server: &Arc<State>, request: http::Request<B>, user: User) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let started = Instant::now();
    let (method, target) = (request.method().clone(), request.uri().path().to_owned());
    let mut verb = Verb::of(&method, false);
    let result = async {
        let request = Request::read(request, user).await?;
        verb = Verb::of(&method, request.query.flag("watch"));
        route(server, &request).await
    }
    .await;
    let response = result.unwrap_or_else(|error: ApiError| body::error(&error));
    server.metrics.answered(verb, response.status(), started.elapsed());
    tracing::debug!(%method, path = target, code = response.status().as_u16(), "answered");
    response
}

async fn route(server: &Arc<State>, request: &Request) -> Result<Response<Body>, ApiError> {
    match &request.path {
        Path::Object(path) if !path.plural.is_empty() => {
            if server.registry().groups().contains_key(path.group.as_str()) {
                return rest::answer(server, request, path).await;
            }
            Ok(body::text(http::StatusCode::NOT_FOUND, "404 page not found\n"))
        }
        _ if request.method != Method::GET && request.method != Method::HEAD => Err(ApiError::method_not_allowed()),
        Path::Object(path) => discovery::resources(server, request, &path.group, &path.version),
        Path::Other(path) => other(server, request, path),
    }
}

fn other(server: &State, request: &Request, path: &str) -> Result<Response<Body>, ApiError> {
    let segments: Vec<&str> = path.split('/').collect();
    match segments.as_slice() {
        [""] => Ok(discovery::root()),
        ["api"] => discovery::core(server, request),
        ["apis"] => discovery::groups(server, request),
        ["apis", group] => Ok(discovery::group(server, group)),
        ["version"] => Ok(discovery::version()),
        ["livez" | "readyz" | "healthz", ..] => Ok(health::answer(server, request, path)),
        ["openapi", "v2"] => Ok(openapi_routes::swagger(request)),
        ["openapi", "v3"] => Ok(openapi_routes::index(server, request)),
        ["openapi", "v3", "api", version] => openapi_routes::document(server, request, "", version),
        ["openapi", "v3", "apis", group, version] => openapi_routes::document(server, request, group, version),
        _ => Ok(body::text(http::StatusCode::NOT_FOUND, "404 page not found\n")),
    }
}
