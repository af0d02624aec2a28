//! A disk that could not be written: what is known of it, when it is tried again, and whether what it then holds is what was answered.
use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{disk::Loaded, entry::Key, error::Error, recovered::Recovered, ring::Event, shared::Shared};

/// The first pause; each one after it is twice as long, up to the last.
const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(5);

/// How long to wait before the next try. Begins anew only with a write that was carried out.
#[derive(Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    fn take(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LAST);
        pause
    }
}

/// A batch that may have reached the disk, though it was refused.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) events: Vec<Event>,
    pub(super) revision: u64,
}

/// The time from a write that failed to one that can be carried out.
#[derive(Debug)]
pub(super) struct Outage {
    began: Instant,
    cause: String,
    doubt: Option<Doubt>,
    /// So much the disk must take before it counts as well again.
    pub(super) bytes: usize,
    /// What a writer is told.
    pub(super) reason: String,
    /// None: it is not tried again.
    next: Option<Instant>,
}

impl Outage {
    pub(super) fn new(error: &Error, doubt: Doubt, bytes: usize, pause: &mut Pause) -> Self {
        let mut this =
            Self { began: Instant::now(), cause: error.to_string(), doubt: Some(doubt), bytes, reason: String::new(), next: None };
        this.again(error, pause);
        this
    }

    /// The next try comes after a pause, whatever it was.
    fn again(&mut self, error: &Error, pause: &mut Pause) {
        self.reason = format!(
            "the store cannot be written ({error}): make room on its disk, or mend it; it is tried again every few seconds, and what is stored can be read meanwhile"
        );
        self.next = Some(Instant::now() + pause.take());
    }

    /// A try that failed. False if it is the last one: the file is not what was written.
    pub(super) fn failed_again(&mut self, error: &Error, pause: &mut Pause) -> bool {
        let passing = matches!(error, Error::System { .. } | Error::LockedBy { .. });
        if passing {
            self.again(error, pause);
        } else {
            self.next = None;
            self.reason = match error {
                Error::Gone { .. } => error.to_string(),
                _ => format!("the store could not be written, and what is on its disk now is not what was stored: {error}"),
            };
        }
        passing
    }

    /// Whether it is tried again, and when.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// What is told of it when it is over.
    pub(super) fn over(self) -> Recovered {
        Recovered { lasted: self.began.elapsed(), cause: self.cause }
    }

    /// Compares what was read back with what was answered. What was refused and is there all the same becomes visible.
    pub(super) fn settle(&mut self, loaded: &Loaded, shared: &Shared) -> Result<(), String> {
        let answered = shared.list_all();
        let mut expected: HashMap<Key, u64> = answered.entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
        let landed = self.doubt.take_if(|doubt| doubt.revision == loaded.revision);
        for event in landed.iter().flat_map(|doubt| &doubt.events) {
            let key = event.object.key.clone();
            if event.deleted {
                expected.remove(&key)
            } else {
                expected.insert(key, event.revision())
            };
        }
        let revision = landed.as_ref().map_or(answered.revision, |doubt| doubt.revision);
        let found: HashMap<_, _> = loaded.entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
        if loaded.uuid != shared.uuid() {
            return Err("it is another store's".to_owned());
        }
        if loaded.revision != revision || found != expected {
            return Err(format!("it holds {} objects at revision {}, not {} at {revision}", found.len(), loaded.revision, expected.len()));
        }
        self.doubt = None;
        if let Some(Doubt { events, revision }) = landed {
            shared.publish(events, revision);
        }
        Ok(())
    }
}
