//! The output of instances, as it is written: one stream per instance, and new instances join as they appear.
pub mod lines;
pub mod source;
mod watch;

use std::{collections::HashMap, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{Client, runtime::watcher};
use tokio::{
    sync::watch::Receiver,
    task::{AbortHandle, JoinSet},
};

use self::{
    source::{Part, Source},
    watch::Seen,
};
use super::{
    exit::{Failure, Result},
    printer::{Message, Printer},
};

/// The pause before a stream that broke is opened again.
const REOPEN: Duration = Duration::from_millis(500);

/// Which instances are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of a service.
    Service(String),
    /// The one of this name.
    Instance(String),
}

/// What is followed.
#[derive(Debug, Clone)]
pub struct Follow {
    /// The namespace; all if none is given.
    pub namespace: Option<String>,
    /// Which instances.
    pub which: Which,
    /// Which part of what they had written before.
    pub part: Part,
    /// Of those that are born from this time on everything is new.
    pub begun: Timestamp,
    /// Once it is true, the last one that goes is the end; as long as it is false, more are waited for.
    pub ends: Receiver<bool>,
}

/// Follows instances until nobody reads. Ends by being dropped as well.
///
/// # Errors
/// The instances cannot be watched at all.
pub async fn follow(client: &Client, mut what: Follow, printer: &Printer) -> Result {
    let (mut streams, mut known, mut seen) = (JoinSet::new(), HashMap::<String, AbortHandle>::new(), false);
    let mut events = watch::events(client, what.namespace.as_deref(), &what.which).await?;
    loop {
        let event = tokio::select! {
            event = events.next() => Some(event),
            () = printer.unread() => return Ok(()),
            Some(_) = streams.join_next() => None,
            // By now everything that there is has been seen.
            Ok(()) = what.ends.changed() => { seen = true; None }
        };
        match event {
            Some(Some(Ok(Seen::There { instance, new }))) => {
                let Some(uid) = instance.uid.clone() else { continue };
                let (source, printer) = (Source::new(client, &instance), printer.clone());
                // Times of birth are whole seconds.
                let new = new || instance.created.is_some_and(|born| born.as_second() >= what.begun.as_second());
                seen = true;
                let part = if new { Part::all() } else { what.part.clone() };
                known.entry(uid).or_insert_with(|| streams.spawn(one(source, part, printer)));
            }
            // Its stream ends by itself, with its last line.
            Some(Some(Ok(Seen::Gone(uid)))) => drop(uid.and_then(|uid| known.remove(&uid))),
            None => {}
            Some(Some(Err(error))) if known.is_empty() => return Err(failure(error)),
            Some(Some(Err(error))) => tracing::warn!(%error, "the instances cannot be watched; trying again"),
            Some(None) => return Ok(()),
        }
        if *what.ends.borrow() && seen && known.is_empty() && streams.is_empty() {
            return Ok(());
        }
    }
}

/// What it means for a command that the API cannot be watched.
pub(super) fn failure(error: watcher::Error) -> Failure {
    match error {
        watcher::Error::WatchError(status) => kube::Error::Api(status).into(),
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            error.into()
        }
        error @ watcher::Error::NoResourceVersion => anyhow::Error::from(error).into(),
    }
}

/// Follows one instance until it is gone or nobody reads; a stream that breaks is taken up again after the last line.
async fn one(source: Source, mut part: Part, printer: Printer) {
    loop {
        match source.open(&part, true).await {
            Ok(Some(mut lines)) => {
                while let Some(line) = lines.next().await {
                    part = part.past(&line);
                    if !printer.print(Message::Log { id: source.id().to_owned(), at: line.at, line: line.text }).await {
                        return;
                    }
                }
                // The end of a stream is mostly that of its instance, which nobody is to wait for.
                if matches!(source.is_there().await, Ok(false)) {
                    return;
                }
            }
            Ok(None) => return,
            Err(failure) => tracing::warn!(instance = source.id(), error = failure.text(), "its log cannot be read; trying again"),
        }
        tokio::time::sleep(REOPEN).await;
    }
}
