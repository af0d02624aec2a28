//! The body of a client's request, on its way to an instance.
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::Cell;
use crate::forward;

/// The body as it comes; its connection is told of one that breaks.
#[derive(Debug)]
pub struct ClientBody {
    body: Incoming,
    cell: Arc<Cell>,
}

impl ClientBody {
    /// A body, and the cell of the connection that it comes from.
    pub fn new(body: Incoming, cell: Arc<Cell>) -> Self {
        Self { body, cell }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx).map_ok(without_claims).map_err(io::Error::other);
        if matches!(frame, Poll::Ready(Some(Err(_)))) {
            self.cell.break_body();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn without_claims(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        forward::trailers(trailers);
    }
    frame
}
