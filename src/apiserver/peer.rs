//! The far end of one connection: whether it has shown who it is, and how long no request has come from it. Who has not shown it is a stranger, and
//! there is room for few of them: the one who has been here longest gives way to a new one.
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::body::Body;

/// Those who have not shown who they are, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Strangers {
    most: usize,
    here: Mutex<VecDeque<Arc<Peer>>>,
}

impl Strangers {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, here: Mutex::default() })
    }

    /// A new one. If there are too many then, the first is sent away.
    pub(crate) fn enter(&self) -> Arc<Peer> {
        let peer = Arc::new(Peer { known: AtomicBool::new(false), sent_away: CancellationToken::new(), requests: watch::Sender::new(0) });
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        here.push_back(Arc::clone(&peer));
        if here.len() > self.most
            && let Some(first) = here.pop_front()
        {
            first.sent_away.cancel();
        }
        peer
    }

    /// It has shown who it is, and is sent away no more.
    pub(crate) fn recognise(&self, peer: &Arc<Peer>) {
        if !peer.known.swap(true, Ordering::SeqCst) {
            self.leave(peer);
        }
    }

    /// It is no stranger any more, or gone.
    pub(crate) fn leave(&self, peer: &Arc<Peer>) {
        self.here.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, peer));
    }
}

/// One connection's far end.
#[derive(Debug)]
pub(crate) struct Peer {
    known: AtomicBool,
    sent_away: CancellationToken,
    /// How many are under way.
    requests: watch::Sender<usize>,
}

impl Peer {
    /// Waits until another stranger has taken its place.
    pub(crate) async fn sent_away(&self) {
        self.sent_away.cancelled().await;
    }

    /// Counts a request until its answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.requests.send_modify(|requests| *requests += 1);
        UnderWay(Arc::clone(self))
    }

    /// Waits until for so long nothing is under way: of a stranger, and of who is known.
    pub(crate) async fn idle(&self, stranger: Duration, known: Duration) {
        let mut requests = self.requests.subscribe();
        loop {
            let under_way = *requests.borrow_and_update();
            let limit = if self.known.load(Ordering::SeqCst) { known } else { stranger };
            // The sender is in `self`, so that the changes do not end.
            if under_way > 0 {
                let _ = requests.changed().await;
            } else if timeout(limit, requests.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Peer>);

impl UnderWay {
    /// The answer's body, which is the end of the request.
    pub(crate) fn until_sent(self, body: Body) -> Sending {
        Sending { body, _request: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.requests.send_modify(|requests| *requests = requests.saturating_sub(1));
    }
}

/// An answer's body that counts as a request under way.
#[derive(Debug)]
pub(crate) struct Sending {
    body: Body,
    _request: UnderWay,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
