//! The one writer: takes writes from a queue, decides each against index and batch, commits the batch in one synced transaction, then publishes
//! and answers. A revision exists only from its commit on, so none is ever visible out of order or missing.
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use serde_json::Value;
use tokio::{sync::oneshot, time::Instant};

use super::{
    Change, Write, Written,
    disk::{Disk, Row},
    entry::{Entry, Key},
    error::{Error, WriteError},
    lock::DirLock,
    metrics::StoreMetrics,
    ring::Event,
    shared::Shared,
};

/// The most writes in one transaction: bounds how long the first of them waits.
const BATCH: usize = 256;

type Answer = oneshot::Sender<Result<Written, WriteError>>;
type Job = (Write, Answer);

/// The handle of the writer's thread. Dropping it lets the queue run dry and waits for the end.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Option<Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(disk: Disk, lock: Option<DirLock>, shared: Arc<Shared>, metrics: StoreMetrics) -> Result<Self, Error> {
        let (queue, jobs) = channel();
        let run = move || {
            // The directory stays locked for as long as this thread may write.
            let _lock = lock;
            Loop { disk, shared, metrics, failed: None }.run(&jobs);
        };
        let thread = std::thread::Builder::new().name("store-writer".to_owned()).spawn(run);
        let thread = thread.map_err(|source| Error::System { act: "start the writer of", path: "store".into(), source })?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Some(thread) })
    }

    pub(super) fn send(&self, write: Write, answer: Answer) -> Result<(), WriteError> {
        let ended = || WriteError::Refused("the store's writer has ended".to_owned());
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_ref().ok_or_else(ended)?.send((write, answer)).map_err(|_| ended())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

struct Loop {
    disk: Disk,
    shared: Arc<Shared>,
    metrics: StoreMetrics,
    failed: Option<String>,
}

impl Loop {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = jobs.try_recv()
            {
                batch.push(next);
            }
            self.carry_out(batch);
        }
    }

    fn carry_out(&mut self, batch: Vec<Job>) {
        if let Some(reason) = &self.failed {
            return refuse(batch.into_iter().map(|(_, answer)| answer), reason);
        }
        let started = Instant::now();
        let mut pending = Pending { shared: &self.shared, revision: self.shared.revision(), events: Vec::new(), overlay: HashMap::new() };
        let answers: Vec<_> = batch.into_iter().map(|(write, answer)| (pending.decide(write), answer)).collect();
        let Pending { revision, events, overlay, .. } = pending;
        if !events.is_empty() {
            // One row per object: within a batch only the last state reaches the disk.
            let rows: Vec<_> = overlay.into_iter().map(|(key, entry)| entry.map_or(Row::Remove(key), Row::Put)).collect();
            if let Err(error) = self.disk.commit(&rows, revision) {
                let reason = format!("the store could not write to disk and takes no more writes until a restart: {error}");
                tracing::error!(%error, "the store could not commit; writes are refused from now on");
                self.metrics.failed();
                self.shared.fail(reason.clone());
                refuse(answers.into_iter().map(|(_, answer)| answer), &reason);
                self.failed = Some(reason);
                return;
            }
            self.metrics.committed(events.len(), revision, started.elapsed());
            self.shared.publish(events, revision);
        }
        for (result, answer) in answers {
            // Who asked may have gone; the write stands all the same.
            let _ = answer.send(result);
        }
    }
}

fn refuse(answers: impl Iterator<Item = Answer>, reason: &str) {
    for answer in answers {
        let _ = answer.send(Err(WriteError::Refused(reason.to_owned())));
    }
}

/// A batch in the making: what it changes on top of the index.
struct Pending<'a> {
    shared: &'a Shared,
    revision: u64,
    events: Vec<Event>,
    overlay: HashMap<Key, Option<Arc<Entry>>>,
}

impl Pending<'_> {
    fn current(&self, key: &Key) -> Option<Arc<Entry>> {
        match self.overlay.get(key) {
            Some(entry) => entry.clone(),
            None => self.shared.get(key),
        }
    }

    fn decide(&mut self, write: Write) -> Result<Written, WriteError> {
        let Write { key, change, guard } = write;
        if let Some((guard, revision)) = guard
            && self.current(&guard).is_none_or(|entry| entry.revision != revision)
        {
            return Err(WriteError::GuardChanged);
        }
        let current = self.current(&key);
        match (change, current) {
            (Change::Create(_), Some(current)) => Err(WriteError::Exists(current)),
            (Change::Create(value), None) => self.put(key, value, None),
            (Change::Update { expected, value }, Some(current)) if current.revision == expected => self.put(key, value, Some(current)),
            (Change::Delete { expected, last }, Some(current)) if current.revision == expected => self.remove(key, last, current),
            (Change::Update { .. } | Change::Delete { .. }, current) => Err(WriteError::Conflict(current)),
        }
    }

    fn put(&mut self, key: Key, mut value: Value, before: Option<Arc<Entry>>) -> Result<Written, WriteError> {
        if let Some(before) = &before {
            let same =
                Entry::from_value(key.clone(), before.revision, &mut value).map_err(|error| WriteError::Refused(error.to_string()))?;
            if same.json == before.json {
                return Ok(Written { entry: Arc::clone(before), changed: false });
            }
        }
        let object = self.stamp(key.clone(), &mut value)?;
        self.overlay.insert(key, Some(Arc::clone(&object)));
        self.events.push(Event { object: Arc::clone(&object), before, deleted: false });
        Ok(Written { entry: object, changed: true })
    }

    fn remove(&mut self, key: Key, mut last: Value, before: Arc<Entry>) -> Result<Written, WriteError> {
        let object = self.stamp(key.clone(), &mut last)?;
        self.overlay.insert(key, None);
        self.events.push(Event { object: Arc::clone(&object), before: Some(before), deleted: true });
        Ok(Written { entry: object, changed: true })
    }

    /// Gives the value the next revision.
    fn stamp(&mut self, key: Key, value: &mut Value) -> Result<Arc<Entry>, WriteError> {
        let entry = Entry::from_value(key, self.revision + 1, value).map_err(|error| WriteError::Refused(error.to_string()))?;
        self.revision += 1;
        Ok(Arc::new(entry))
    }
}
