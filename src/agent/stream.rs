//! Server-sent events: a stream of named JSON values, with a comment where nothing else was sent for a while, so that both sides know that the other is there.
use std::{future::Future, time::Duration};

use bytes::Bytes;
use futures::Stream;
use serde_json::Value;
use tokio::time::timeout;

/// After so long without an event.
const ALIVE: Duration = Duration::from_secs(10);

/// One event.
pub(crate) fn event(name: &str, data: &Value) -> Bytes {
    // JSON as it is written here has no line breaks.
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// Where events come from.
pub(crate) trait Source: Send + 'static {
    /// The next one; none after the last. What was begun and not finished is lost by nobody.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// The events of a source, until its end; it is dropped when whoever reads them goes away.
pub(crate) fn stream(source: impl Source) -> impl Stream<Item = Bytes> + Send + 'static {
    futures::stream::unfold(source, |mut source| async move {
        match timeout(ALIVE, source.next()).await {
            Ok(event) => event.map(|event| (event, source)),
            Err(_) => Some((Bytes::from_static(b": \n\n"), source)),
        }
    })
}
