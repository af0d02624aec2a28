//! The last events, bounded by count and bytes: what a watch resumes from, and what a page of an older revision is reconstructed with.
use std::{collections::VecDeque, sync::Arc};

use super::{entry::Entry, error::Expired};

/// One committed change.
#[derive(Debug, Clone)]
pub struct Event {
    /// The object after it; for a removal its last state, at the revision of the removal.
    pub object: Arc<Entry>,
    /// The object before it; none if it was created.
    pub before: Option<Arc<Entry>>,
    /// It was removed.
    pub deleted: bool,
}

impl Event {
    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        self.object.revision
    }
}

/// The events, oldest first, revisions strictly rising.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Event>,
    /// Every event after this revision is here.
    oldest: u64,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Ring {
    pub(super) fn new(oldest: u64, max_events: usize, max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), oldest, bytes: 0, max_events, max_bytes }
    }

    pub(super) fn oldest(&self) -> u64 {
        self.oldest
    }

    pub(super) fn push(&mut self, event: Event) {
        self.bytes += event.object.json.len();
        self.events.push_back(event);
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            let Some(dropped) = self.events.pop_front() else { break };
            self.bytes -= dropped.object.json.len();
            self.oldest = dropped.revision();
        }
    }

    /// The events after a revision, oldest first.
    pub(super) fn after(&self, revision: u64) -> Result<impl DoubleEndedIterator<Item = &Event>, Expired> {
        if revision < self.oldest {
            return Err(Expired { asked: revision, oldest: self.oldest });
        }
        let from = self.events.partition_point(|event| event.revision() <= revision);
        Ok(self.events.range(from..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    fn event(revision: u64, bytes: usize) -> Event {
        let json = vec![b' '; bytes].into();
        let object = Arc::new(Entry { key: Key::new("things", "", "a"), revision, json, labels: Box::default() });
        Event { object, before: None, deleted: false }
    }

    #[test]
    fn resuming_is_possible_from_the_oldest_revision_on_and_expired_before_it() {
        let mut ring = Ring::new(10, 3, 1_000_000);
        for revision in 11..=15 {
            ring.push(event(revision, 1));
        }
        assert_eq!(ring.after(11).map(|_| ()), Err(Expired { asked: 11, oldest: 12 }));
        let seen: Vec<_> = ring.after(12).unwrap().map(Event::revision).collect();
        assert_eq!(seen, [13, 14, 15]);
        assert_eq!(ring.after(15).unwrap().count(), 0);
        assert_eq!(ring.after(99).unwrap().count(), 0);
    }

    #[test]
    fn the_byte_bound_holds_even_for_one_huge_event() {
        let mut ring = Ring::new(0, 100, 1000);
        ring.push(event(1, 600));
        ring.push(event(2, 600));
        assert_eq!(ring.oldest(), 1);
        ring.push(event(3, 5000));
        assert_eq!(ring.oldest(), 3);
    }
}
