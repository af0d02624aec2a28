//! HTTP on `$PORT` (of `$HOST`, which is loopback unless said otherwise) until SIGTERM: then no new connections, and an end when the requests that had begun are answered.
use std::{convert::Infallible, future::Future};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The end of the program, for what lives longer than a request.
#[derive(Clone, Default)]
pub(crate) struct Ending {
    /// Cancelled on SIGTERM.
    pub(crate) token: CancellationToken,
    /// What the program waits for before it ends.
    pub(crate) tasks: TaskTracker,
}

/// Serves until SIGTERM, and until all that had begun has ended.
pub(crate) async fn serve<A, F>(answer: A) -> anyhow::Result<()>
where
    A: Fn(Request<Incoming>, Ending) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let port: u16 = std::env::var("PORT").context("PORT is not set: mesh gives it to each instance")?.parse().context("PORT")?;
    // In a container loopback is the container's own: its image sets HOST to all addresses.
    let host: std::net::IpAddr = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned()).parse().context("HOST")?;
    let listener = TcpListener::bind((host, port)).await.with_context(|| format!("listen on port {port}"))?;
    println!("listening on port {port}");
    let (mut terminate, graceful, ending) = (signal(SignalKind::terminate())?, GracefulShutdown::new(), Ending::default());
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminate.recv() => break,
            // Takes the ended ones out of the set.
            Some(_) = connections.join_next() => continue,
        };
        let (answer, ending) = (answer.clone(), ending.clone());
        let service = service_fn(move |request| {
            let response = answer(request, ending.clone());
            async move { Ok::<_, Infallible>(response.await) }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        connections.spawn(graceful.watch(connection));
    }
    println!("ending: {} connections are open", connections.len());
    drop(listener);
    ending.token.cancel();
    ending.tasks.close();
    graceful.shutdown().await;
    ending.tasks.wait().await;
    println!("ended");
    Ok(())
}

/// A response of that type.
pub(crate) fn response(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
