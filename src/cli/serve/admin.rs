//! `/livez`, `/readyz` and `/metrics`, and in a cluster `/drain` for pods that are to end; in clear HTTP. Read only.
use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header::CONTENT_TYPE, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use super::usage::UsageMetrics;
use mesh_coordination::locks::redis::Redis;
use mesh_kit::{
    accept::accept,
    descriptors,
    guests::{Asked, Guests},
    metrics::Metrics,
    shutdown::Shutdown,
};
use mesh_router::{health::Health, hook::Hooks};
use mesh_store::Store;

/// How long hooks may wait for other routers once this one has ended; then they ask another.
pub(crate) const HOOK_GRACE: Duration = Duration::from_secs(5);
/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/readyz` says.
#[derive(Debug, Clone)]
pub(crate) enum Ready {
    /// True once a router has read all endpoints; and what troubles it.
    Router(watch::Receiver<bool>, Health),
    /// A machine of its own: whether the store takes writes, and the router; and what troubles the Redis that keeps its locks.
    Machine { store: Store, router: watch::Receiver<bool>, health: Health, redis: Option<Redis> },
    /// What a controller in a cluster waits for; nothing once it works.
    Waits(watch::Receiver<Option<String>>),
}

impl Ready {
    /// Why not; nothing if it is ready.
    fn why_not(&self) -> Option<String> {
        match self {
            Self::Router(ready, health) => router(ready, health),
            Self::Machine { store, router: ready, health, redis: _ } => store.failure().or_else(|| router(ready, health)),
            Self::Waits(waits) => waits.borrow().clone(),
        }
    }

    /// What is to be known though it is.
    fn note(&self) -> Option<String> {
        match self {
            Self::Router(_, health) => health.note(),
            Self::Machine { store: _, router: _, health, redis } => {
                let locks = redis.as_ref().and_then(Redis::trouble).map(|why| format!("no locks are given: {why}"));
                let notes: Vec<String> = health.note().into_iter().chain(locks).collect();
                (!notes.is_empty()).then(|| notes.join("; "))
            }
            Self::Waits(_) => None,
        }
    }
}

fn router(ready: &watch::Receiver<bool>, health: &Health) -> Option<String> {
    if *ready.borrow() { health.why_not() } else { Some("the router has not read all endpoints yet".to_owned()) }
}

impl From<watch::Receiver<Option<String>>> for Ready {
    fn from(waits: watch::Receiver<Option<String>>) -> Self {
        Self::Waits(waits)
    }
}

/// What the answers are made of.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// Everything that is counted.
    pub(crate) metrics: Metrics,
    /// What instances use, where there are any.
    pub(crate) usage: Option<UsageMetrics>,
    /// Whether this process does its work.
    pub(crate) ready: Ready,
    /// Of a router that is asked about pods.
    pub(crate) hooks: Option<Hooks>,
}

/// Answers until shutdown; where there are hooks, until the router has ended and no hook waits, within [`HOOK_GRACE`].
///
/// # Errors
/// None: a connection that fails is its client's matter.
pub(crate) async fn run(listener: TcpListener, admin: Admin, shutdown: Shutdown) -> Result<(), Infallible> {
    let end = async {
        shutdown.triggered().await;
        if let Some(hooks) = &admin.hooks {
            hooks.ended().await;
        }
    };
    tokio::pin!(end);
    // Dropped at the end, and the connections with it.
    let mut connections = JoinSet::new();
    let mut guests = Guests::new(descriptors::share(descriptors::limit()));
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            () = &mut end => break,
            stream = accept(&listener, "admin") => stream,
        };
        while connections.try_join_next().is_some() {}
        let (admin, shutdown, asked) = (admin.clone(), shutdown.clone(), Asked::default());
        let of_guest = asked.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            // A hook may wait for long.
            let (admin, ending, answering) = (admin.clone(), shutdown.is_triggered(), asked.begin());
            async move {
                let answer = admin.answer(&request, ending).await;
                drop(answering);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        let task = connections.spawn(async move {
            // What goes wrong on a connection here concerns only who opened it.
            let _ = connection.await;
        });
        guests.enter(task, of_guest);
    }
    drop(listener);
    if admin.hooks.is_some() && tokio::time::timeout(HOOK_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("pods that are to end still wait for other routers; their hooks ask those now");
    }
    Ok(())
}

impl Admin {
    async fn answer<B>(&self, request: &Request<B>, ending: bool) -> Response<Full<Bytes>> {
        if let (Some(hooks), &Method::GET) = (&self.hooks, request.method())
            && let Some(told) = hooks.answer(request.uri().path(), request.uri().query()).await
        {
            return response(told.status, "application/json", format!("{}\n", told.body));
        }
        if let Some(usage) = self.usage.as_ref().filter(|_| request.uri().path() == "/metrics") {
            usage.refresh().await;
        }
        let why_not = if ending { Some("ending".to_owned()) } else { self.ready.why_not() };
        answer(request, &self.metrics, why_not, self.ready.note())
    }
}

fn answer<B>(request: &Request<B>, metrics: &Metrics, why_not: Option<String>, note: Option<String>) -> Response<Full<Bytes>> {
    let (status, media, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/livez" | "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match why_not {
            None => (StatusCode::OK, "text/plain", note.map_or_else(|| "ok\n".to_owned(), |note| format!("ok, but {note}\n"))),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, OPEN_METRICS, metrics.render()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "here are /livez, /readyz and /metrics\n".to_owned()),
    };
    response(status, media, body)
}

fn response(status: StatusCode, media: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(media));
    response
}
