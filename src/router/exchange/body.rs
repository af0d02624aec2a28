//! The body of an answer. When it ends, or is dropped, so does the request: it is counted, and the instance's connection goes back into the pool.
use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::{Client, expect::Refused};
use crate::{endpoint::InFlight, pool::Upstream, table::Service};

/// What is noted of a request; counted when dropped.
#[derive(Debug)]
pub struct Record {
    /// Whose it is.
    pub client: Rc<Client>,
    /// Who got it.
    pub service: Option<Arc<Service>>,
    /// When its head was there.
    pub start: Instant,
    /// What was answered.
    pub status: StatusCode,
}

impl Drop for Record {
    fn drop(&mut self) {
        let proxy = &self.client.worker.proxy;
        let cells = self.service.as_ref().map_or(&proxy.metrics.unrouted, |service| &service.cells);
        cells.ended(self.status, self.start.elapsed());
        self.client.cell.finish(proxy.table().settings.limits.idle);
    }
}

/// Where an answer's bytes come from.
#[derive(Debug)]
pub enum Source {
    /// From here.
    Own(Option<Bytes>),
    /// From an instance.
    Upstream {
        /// What it sends.
        body: Incoming,
        /// It has ended.
        ended: bool,
        /// The connection, if it may be used again.
        upstream: Option<Upstream>,
        /// Counts as under way until the end.
        in_flight: InFlight,
        /// It came instead of the request's body.
        refused: Option<Refused>,
    },
}

impl Source {
    /// A text of the router's own.
    pub fn own(text: Bytes) -> Self {
        Self::Own(Some(text).filter(|text| !text.is_empty()))
    }

    /// What an instance sends.
    pub fn upstream(body: Incoming, upstream: Option<Upstream>, in_flight: InFlight, refused: Option<Refused>) -> Self {
        Self::Upstream { body, ended: false, upstream, in_flight, refused }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub struct AnswerBody {
    source: Source,
    record: Record,
}

impl AnswerBody {
    /// A body, with the record of its request.
    pub fn new(source: Source, record: Record) -> Self {
        Self { source, record }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().source {
            Source::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Upstream { body, ended, .. } => {
                let frame = Pin::new(body).poll_frame(cx);
                *ended |= matches!(frame, Poll::Ready(None));
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_none(),
            Source::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Upstream { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Source::Upstream { body, ended, upstream, .. } = &mut self.source
            && (*ended || body.is_end_stream())
            && let Some(upstream) = upstream.take()
        {
            let worker = &self.record.client.worker;
            worker.pool.give_back(upstream, worker.now());
        }
    }
}
