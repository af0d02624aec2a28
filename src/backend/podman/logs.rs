//! Gives an instance's log as a stream: the run before, then the current one, then, if it is followed, each that comes after, until the instance
//! is removed. The engine's streams break where it is restarted; they are taken up again where they broke.
mod cursor;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, pin_mut, stream::BoxStream};
use tokio::{
    sync::mpsc::{self, Sender},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;

use self::cursor::Cursor;
use super::{Inner, identity::attempt, refusal::refused, slot::Slot};
use crate::{
    Error, LogQuery,
    engine::{
        containers::{Status, Summary},
        logs::Part,
    },
};
use mesh_plan::instance::InstanceKey;

/// So many lines wait for a slow reader.
const AHEAD: usize = 64;
/// An engine that does not answer is asked again after this; and a next run that nobody told of is looked for after it.
const PAUSE: Duration = Duration::from_secs(1);

/// The log, oldest first, in pieces that end where a line ends.
pub(super) fn read(inner: Arc<Inner>, key: &InstanceKey, query: LogQuery) -> BoxStream<'static, Result<Bytes, Error>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let slot = inner.slots.of(key);
    // Heard from before the first look, so that no run begins unnoticed in between.
    let mut changes = inner.subscribers.subscribe().filter({
        let uid = key.uid.clone();
        move |changed| std::future::ready(changed.uid == uid)
    });
    let shutdown = inner.shutdown.clone();
    shutdown.clone().spawn_work(async move {
        let reader = Reader { inner: &inner, slot: &slot, query: &query, sender: &sender };
        tokio::select! {
            () = shutdown.triggered() => {}
            () = sender.closed() => {}
            result = reader.all(&mut changes) => if let Err(error) = result {
                // The reader has gone: then nobody is told.
                let _ = sender.send(Err(error)).await;
            },
        }
        inner.slots.forget(&slot);
    });
    ReceiverStream::new(receiver).boxed()
}

struct Reader<'a> {
    inner: &'a Inner,
    slot: &'a Slot,
    query: &'a LogQuery,
    sender: &'a Sender<Result<Bytes, Error>>,
}

impl Reader<'_> {
    async fn all(&self, changes: &mut (impl Stream<Item = InstanceKey> + Unpin)) -> Result<(), Error> {
        let mut runs = self.runs().await?;
        let Some(mut last) = runs.pop() else { return Ok(()) };
        let mut tail = self.query.tail_lines;
        if let Some(wanted) = tail {
            let found = self.count(&last, wanted).await?;
            for before in runs {
                self.whole(&before, Some(wanted.saturating_sub(found))).await?;
            }
        } else {
            for before in runs {
                self.whole(&before, None).await?;
            }
        }
        if !self.query.follow {
            return self.whole(&last, tail).await;
        }
        loop {
            self.follow(&last, tail.take()).await?;
            match self.after(&last, changes).await? {
                Some(next) => last = next,
                None => return Ok(()),
            }
        }
    }

    /// What ran of the instance and is still there, the oldest first.
    async fn runs(&self) -> Result<Vec<Summary>, Error> {
        let mut runs = self.inner.containers_of(&self.slot.key).await?;
        runs.retain(|it| it.status != Status::Created);
        runs.sort_by_key(|it| attempt(&it.labels));
        Ok(runs)
    }

    fn since(&self) -> Option<i64> {
        self.query.since.map(jiff::Timestamp::as_second)
    }

    async fn count(&self, run: &Summary, tail: u64) -> Result<u64, Error> {
        let lines = self.inner.engine.logs(&run.id, Part { tail: Some(tail), since: self.since(), follow: false });
        pin_mut!(lines);
        let mut count = 0;
        while let Some(line) = lines.next().await {
            line.map_err(|error| self.error(&error))?;
            count += 1;
        }
        Ok(count)
    }

    /// What a run wrote so far.
    async fn whole(&self, run: &Summary, tail: Option<u64>) -> Result<(), Error> {
        if tail == Some(0) {
            return Ok(());
        }
        let lines = self.inner.engine.logs(&run.id, Part { tail, since: self.since(), follow: false });
        pin_mut!(lines);
        let mut open = false;
        while let Some(line) = lines.next().await {
            open = self.give(&line.map_err(|error| self.error(&error))?).await;
        }
        self.close(open).await;
        Ok(())
    }

    /// What a run writes until it ends.
    async fn follow(&self, run: &Summary, tail: Option<u64>) -> Result<(), Error> {
        let mut cursor = Cursor::default();
        let mut open = false;
        let mut part = Part { tail, since: self.since(), follow: true };
        loop {
            let lines = self.inner.engine.logs(&run.id, part);
            pin_mut!(lines);
            while let Some(line) = lines.next().await {
                match line {
                    Ok(line) if cursor.is_new(&line) => open = self.give(&line).await,
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => return Ok(()),
                    Err(error) if error.is_unreachable() => break,
                    Err(error) => return Err(self.error(&error)),
                }
            }
            match self.inner.engine.inspect(&run.id).await {
                Ok(found) if found.as_ref().is_none_or(|found| !found.status.runs()) => {
                    self.close(open).await;
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) if error.is_unreachable() => sleep(PAUSE).await,
                Err(error) => return Err(self.error(&error)),
            }
            part = Part { tail: None, since: cursor.resume().or(self.since()), follow: true };
        }
    }

    /// The run after one that has ended; none if the instance was removed.
    async fn after(&self, last: &Summary, changes: &mut (impl Stream<Item = InstanceKey> + Unpin)) -> Result<Option<Summary>, Error> {
        loop {
            match self.runs().await {
                Ok(runs) => match runs.into_iter().find(|it| attempt(&it.labels) > attempt(&last.labels)) {
                    Some(next) => return Ok(Some(next)),
                    None if self.slot.is_removed() => return Ok(None),
                    None => {}
                },
                Err(Error::EngineUnreachable { .. }) => {}
                Err(error) => return Err(error),
            }
            tokio::select! {
                _ = changes.next() => {}
                () = sleep(PAUSE) => {}
            }
        }
    }

    /// Gives a line; true if it has no end.
    async fn give(&self, line: &Bytes) -> bool {
        let text =
            if self.query.timestamps { line.clone() } else { line.slice(cursor::time(line).len().saturating_add(1).min(line.len())..) };
        // Whoever reads may have gone: then this task is ended from outside.
        let _ = self.sender.send(Ok(text)).await;
        !line.ends_with(b"\n")
    }

    /// The last line of a run may have no end; the next run begins on a line of its own all the same.
    async fn close(&self, open: bool) {
        if open {
            let _ = self.sender.send(Ok(Bytes::from_static(b"\n"))).await;
        }
    }

    fn error(&self, error: &crate::engine::Error) -> Error {
        refused(&self.inner.engine, format!("read the log of {}", self.slot.key), error)
    }
}
