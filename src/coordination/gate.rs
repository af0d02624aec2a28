//! The guard around a client: reads pass, a write passes only while this process leads. It sits where requests are sent, so that no controller can forget it.
//! The election's own writes go through a client without it.
use std::task::{Context, Poll};

use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, poll_fn},
};
use http::{Method, Request};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::Leadership;

/// A write of a process that does not lead. The leader does it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this process does not lead: nothing is written")]
pub struct NotLeader;

/// Whether a request failed only because this process does not lead: no trouble, and nothing to tell of.
pub fn is_not_leader(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(source) if source.is::<NotLeader>())
}

/// Puts the guard around a client's service (`kube::client::ClientBuilder::with_layer`).
#[derive(Debug, Clone)]
pub struct Gate(Leadership);

impl Gate {
    /// A guard that lets writes through while `leadership` says so.
    pub fn new(leadership: Leadership) -> Self {
        Self(leadership)
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, leadership: self.0.clone() }
    }
}

/// A service with the guard.
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    leadership: Leadership,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Error: Into<BoxError> + 'static, Response: 'static, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.inner.call(request).map_err(Into::into).boxed();
        }
        if !self.leadership.may_write() {
            return async { Err(NotLeader.into()) }.boxed();
        }
        let (leadership, mut answer) = (self.leadership.clone(), self.inner.call(request).boxed());
        // Asked before each step: what waits for a connection or for its turn is not sent once the promise is over.
        poll_fn(
            move |context| {
                if leadership.may_write() { answer.poll_unpin(context).map_err(Into::into) } else { Poll::Ready(Err(NotLeader.into())) }
            },
        )
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use http::Response;
    use kube::{Client, client::ClientBuilder};
    use tokio::sync::Notify;
    use tower::service_fn;

    use super::*;
    use mesh_kit::clock::{BootClock, BootTime};

    /// A clock that a test sets, in seconds.
    fn clock() -> (Arc<AtomicU64>, BootClock) {
        let seconds = Arc::new(AtomicU64::new(100));
        let read = seconds.clone();
        (seconds, BootClock::from_fn(move || BootTime::after_boot(Duration::from_secs(read.load(Ordering::SeqCst)))))
    }

    /// A server that counts what reaches it, after a gate of its own has opened.
    fn server(leadership: &Leadership, open: Arc<Notify>) -> (Client, Arc<AtomicUsize>) {
        let reached = Arc::new(AtomicUsize::new(0));
        let count = reached.clone();
        let service = service_fn(move |_: Request<Body>| {
            let (count, open) = (count.clone(), open.clone());
            async move {
                open.notified().await;
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, BoxError>(Response::new(Body::empty()))
            }
        });
        (ClientBuilder::new(service, "default").with_layer(&Gate::new(leadership.clone())).build(), reached)
    }

    fn request(method: Method) -> Request<Body> {
        Request::builder().method(method).uri("/x").body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn reads_pass_always_and_writes_only_while_this_process_leads() {
        let (seconds, clock) = clock();
        let leadership = Leadership::none(clock);
        let open = Arc::new(Notify::new());
        let (client, reached) = server(&leadership, open.clone());
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let refused = client.send(request(method)).await.unwrap_err();
            assert!(is_not_leader(&refused), "{refused}");
        }
        assert_eq!(reached.load(Ordering::SeqCst), 0);
        open.notify_one();
        client.send(request(Method::GET)).await.unwrap();

        leadership.extend(BootTime::after_boot(Duration::from_secs(110)));
        open.notify_one();
        client.send(request(Method::PATCH)).await.unwrap();
        assert_eq!(reached.load(Ordering::SeqCst), 2);
        // Nobody had to tell it: the time alone ends it.
        seconds.store(110, Ordering::SeqCst);
        assert!(is_not_leader(&client.send(request(Method::PATCH)).await.unwrap_err()));
        leadership.extend(BootTime::after_boot(Duration::from_secs(120)));
        leadership.end("test");
        assert!(is_not_leader(&client.send(request(Method::PATCH)).await.unwrap_err()));
    }

    #[tokio::test]
    async fn a_write_that_still_waits_for_its_connection_is_not_sent_after_the_end() {
        let (seconds, clock) = clock();
        let leadership = Leadership::none(clock);
        leadership.extend(BootTime::after_boot(Duration::from_secs(110)));
        let open = Arc::new(Notify::new());
        let (client, reached) = server(&leadership, open.clone());
        let mut write = Box::pin(client.send(request(Method::PATCH)));
        assert!(futures::poll!(write.as_mut()).is_pending());
        tokio::task::yield_now().await;
        assert!(futures::poll!(write.as_mut()).is_pending());
        // The process is stopped here, and wakes when the connection is there.
        seconds.store(130, Ordering::SeqCst);
        open.notify_one();
        assert!(is_not_leader(&write.await.unwrap_err()));
        assert_eq!(reached.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn other_errors_are_not_mistaken_for_it() {
        assert!(!is_not_leader(&kube::Error::Service("connection refused".into())));
    }
}
