//! `Expect: 100-continue` (RFC 9110, 10.1.1). The expectation goes to the instance, and its body is read once the instance asks for it: that is when hyper asks
//! the client. An instance that answers at once never gets the body, and one that knows nothing of the matter gets it a second later.
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http::{HeaderValue, Request, StatusCode, header::EXPECT, request::Parts};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::conn::body::ClientBody;

/// How long an instance has to ask, as with common clients.
const PATIENCE: Duration = Duration::from_secs(1);
const CONTINUE: HeaderValue = HeaderValue::from_static("100-continue");

const UNDECIDED: u8 = 0;
/// The instance asks for the body, or has said nothing for long enough.
const ASKED: u8 = 1;
/// It has answered without.
const REFUSED: u8 = 2;
/// That answer has ended.
const OVER: u8 = 3;

/// A body that is waited with.
#[derive(Debug)]
pub struct Expected {
    /// None once it is refused: then hyper ends the client's connection after the answer, and does not wait for a body that never comes.
    body: Option<ClientBody>,
    asked: Arc<Asked>,
    patience: Pin<Box<Sleep>>,
}

#[derive(Debug, Default)]
struct Asked {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Asked {
    fn set(&self, state: u8) {
        self.state.store(state, Relaxed);
        self.waker.wake();
    }

    /// From undecided to this; whether it was.
    fn decide(&self, state: u8) -> bool {
        let decided = self.state.compare_exchange(UNDECIDED, state, Relaxed, Relaxed).is_ok();
        self.waker.wake();
        decided
    }
}

impl Expected {
    /// The body once it may be read; an error once it never will be, and the answer has ended.
    fn poll_asked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut ClientBody>> {
        self.asked.waker.register(cx.waker());
        if self.asked.state.load(Relaxed) == UNDECIDED && self.patience.as_mut().poll(cx).is_ready() {
            self.asked.decide(ASKED);
        }
        match self.asked.state.load(Relaxed) {
            ASKED => Poll::Ready(self.body.as_mut().ok_or_else(aborted)),
            OVER => Poll::Ready(Err(aborted())),
            REFUSED => {
                self.body = None;
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }
}

impl Body for Expected {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match ready!(self.poll_asked(cx)) {
            Ok(body) => Pin::new(body).poll_frame(cx),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

fn aborted() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// Decides the expectation of a request, once there is an answer.
#[derive(Debug)]
pub struct Expectation(Arc<Asked>);

impl Expectation {
    /// There is an answer. What is given if it came instead of the body is to live as long as that answer. A successful one may come before the body is
    /// read, and be made of it.
    pub fn answered(self, status: StatusCode) -> Option<Refused> {
        let refused = !status.is_success();
        (self.0.decide(if refused { REFUSED } else { ASKED }) && refused).then(|| Refused(self.0))
    }
}

/// An answer that came instead of the body. The connection to the instance is of no use after it.
#[derive(Debug)]
pub struct Refused(Arc<Asked>);

impl Drop for Refused {
    fn drop(&mut self) {
        self.0.set(OVER);
    }
}

/// Whether a client waits to be asked for the body.
pub fn expects(parts: &Parts) -> bool {
    parts.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(CONTINUE.as_bytes()))
}

/// The request with the expectation, and its body once it is met.
pub fn expecting(mut parts: Parts, body: ClientBody) -> (Request<Expected>, Expectation) {
    parts.headers.insert(EXPECT, CONTINUE);
    let asked = Arc::new(Asked::default());
    let expectation = Expectation(asked.clone());
    let expected = Expected { body: Some(body), asked: asked.clone(), patience: Box::pin(sleep(PATIENCE)) };
    let mut request = Request::from_parts(parts, expected);
    hyper::ext::on_informational(&mut request, move |answer| {
        if answer.status() == StatusCode::CONTINUE {
            asked.decide(ASKED);
        }
    });
    (request, expectation)
}
