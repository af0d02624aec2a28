//! `/livez`, `/readyz` and `/metrics`, in clear HTTP on loopback. Read only.
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::usage::UsageMetrics;
use crate::kit::{metrics::Metrics, shutdown::Shutdown};

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/readyz` says.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Ready {
    /// True once a router has read all endpoints.
    Router(watch::Receiver<bool>),
    /// What a controller in a cluster waits for; nothing once it works.
    Waits(watch::Receiver<Option<String>>),
}

impl Ready {
    /// Why not; nothing if it is ready.
    fn why_not(&self) -> Option<String> {
        match self {
            Self::Router(ready) => (!*ready.borrow()).then(|| "the router has not read all endpoints yet".to_owned()),
            Self::Waits(waits) => waits.borrow().clone(),
        }
    }
}

impl From<watch::Receiver<bool>> for Ready {
    fn from(ready: watch::Receiver<bool>) -> Self {
        Self::Router(ready)
    }
}

impl From<watch::Receiver<Option<String>>> for Ready {
    fn from(waits: watch::Receiver<Option<String>>) -> Self {
        Self::Waits(waits)
    }
}

/// Answers until shutdown.
///
/// # Errors
/// None: a connection that fails is its client's matter.
pub(in crate::cli) async fn run(
    listener: TcpListener,
    metrics: Metrics,
    usage: Option<UsageMetrics>,
    ready: impl Into<Ready>,
    shutdown: Shutdown,
) -> Result<(), Infallible> {
    let ready = ready.into();
    let end = shutdown.triggered();
    tokio::pin!(end);
    // Dropped at the end, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut end => return Ok(()),
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (metrics, usage, ready) = (metrics.clone(), usage.clone(), ready.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (metrics, usage, ready) = (metrics.clone(), usage.clone(), ready.clone());
            async move {
                if let Some(usage) = usage.filter(|_| request.uri().path() == "/metrics") {
                    usage.refresh().await;
                }
                Ok::<_, Infallible>(answer(&request, &metrics, &ready))
            }
        });
        connections.spawn(async move {
            // What goes wrong on a connection here concerns only who opened it.
            let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, ready: &Ready) -> Response<Full<Bytes>> {
    let (status, media, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez" | "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match ready.why_not() {
            None => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, OPEN_METRICS, metrics.render()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "here are /livez, /readyz and /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media));
    response
}
