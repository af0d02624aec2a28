//! The one writer: takes writes from a queue, decides each against index and batch, commits the batch in one synced transaction, then publishes
//! and answers. A revision exists only from its commit on, so none is ever visible out of order or missing.
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
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
    outage::{Doubt, Outage, Pause},
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
            let watched = Arc::clone(&shared);
            let run = move || Loop { disk, shared, metrics, outage: None, pause: Pause::new() }.run(&jobs);
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                watched.lose("the store's writer ended by a defect of this program".to_owned());
            }
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
    /// While writes are refused.
    outage: Option<Outage>,
    pause: Pause,
}

impl Loop {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Some(first) = self.next(jobs) {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = jobs.try_recv()
            {
                batch.push(next);
            }
            self.carry_out(batch);
        }
    }

    /// The next write that is asked for; none at the end. Until it comes, a disk that failed is tried again.
    fn next(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        while let Some(next) = self.outage.as_ref().and_then(Outage::next) {
            let pause = next.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                self.recover();
                continue;
            }
            match jobs.recv_timeout(pause) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        jobs.recv().ok()
    }

    fn carry_out(&mut self, batch: Vec<Job>) {
        if let Some(outage) = &self.outage {
            return refuse(batch.into_iter().map(|(_, answer)| answer), &outage.reason);
        }
        let started = Instant::now();
        let mut pending = Pending { shared: &self.shared, revision: self.shared.revision(), events: Vec::new(), overlay: HashMap::new() };
        let answers: Vec<_> = batch.into_iter().map(|(write, answer)| (pending.decide(write), answer)).collect();
        let Pending { revision, events, overlay, .. } = pending;
        if !events.is_empty() {
            // One row per object: within a batch only the last state reaches the disk.
            let rows: Vec<_> = overlay.into_iter().map(|(key, entry)| entry.map_or(Row::Remove(key), Row::Put)).collect();
            if let Err(error) = self.disk.commit(&rows, revision) {
                let reason = self.fail(&error, Doubt { events, revision }, rows.iter().map(Row::bytes).sum());
                return refuse(answers.into_iter().map(|(_, answer)| answer), &reason);
            }
            self.pause = Pause::new();
            self.metrics.committed(events.len(), revision, started.elapsed());
            self.shared.publish(events, revision);
        }
        for (result, answer) in answers {
            // Who asked may have gone; the write stands all the same.
            let _ = answer.send(result);
        }
    }

    /// From now on writes are refused; returns why.
    fn fail(&mut self, error: &Error, doubt: Doubt, bytes: usize) -> String {
        tracing::error!(%error, "the store could not commit; writes are refused until it can");
        let outage = Outage::new(error, doubt, bytes, &mut self.pause);
        let reason = outage.reason.clone();
        self.metrics.failed();
        self.shared.set_failure(Some(reason.clone()));
        self.outage = Some(outage);
        reason
    }

    /// Opens the file again, and takes writes again if it holds what was answered and takes what it did not take.
    fn recover(&mut self) {
        let Some(mut outage) = self.outage.take() else { return };
        let loaded = self.disk.reopen();
        let settled = loaded.and_then(|loaded| outage.settle(&loaded, &self.shared).map_err(|reason| self.disk.damaged(&reason)));
        match settled.and_then(|()| self.disk.prove(outage.bytes)) {
            Ok(()) => {
                let recovered = outage.over();
                tracing::info!("{recovered}");
                self.metrics.recovered();
                self.shared.recover(recovered);
            }
            Err(error) => {
                if outage.failed_again(&error, &mut self.pause) {
                    tracing::debug!(%error, "the store still cannot be written");
                    self.shared.set_failure(Some(outage.reason.clone()));
                } else {
                    tracing::error!(%error, "the store is lost");
                    self.shared.lose(outage.reason.clone());
                }
                self.outage = Some(outage);
            }
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
        let revision = self.shared.next(self.revision);
        let entry = Entry::from_value(key, revision, value).map_err(|error| WriteError::Refused(error.to_string()))?;
        self.revision = revision;
        Ok(Arc::new(entry))
    }
}
