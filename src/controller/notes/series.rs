//! Which Event a note becomes: the same words about the same object are counted in one Event, other words are another one, so that no text is hidden behind an
//! earlier one. (The recorder of kube-runtime counts by reason alone, and shows the first text for ever.)
use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::Note;

/// What is told again after so long is told anew; as in client-go.
const ONE_SERIES: SignedDuration = SignedDuration::from_mins(6);
/// The API takes at most a kilobyte.
const LONGEST: usize = 1024;

/// Who tells.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    /// Its name.
    pub(super) controller: String,
    /// Which one of that name.
    pub(super) instance: String,
}

/// What was told lately.
#[derive(Debug)]
pub(super) struct Series {
    reporter: Reporter,
    told: HashMap<Told, Event>,
}

/// The same if nothing differs that people read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Told {
    /// The object's uid, else its place.
    object: String,
    reason: &'static str,
    message: String,
    warning: bool,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    /// A new Event.
    Create(Event),
    /// One that is there has happened again.
    Count(Event),
}

impl Told {
    fn new(object: &ObjectReference, note: &Note) -> Self {
        let place = || format!("{:?}/{:?}/{:?}", object.kind, object.namespace, object.name);
        let object = object.uid.clone().unwrap_or_else(place);
        Self { object, reason: note.reason, message: note.message.clone(), warning: note.warning }
    }
}

impl Series {
    /// Nothing was told yet.
    pub(super) fn new(reporter: Reporter) -> Self {
        Self { reporter, told: HashMap::new() }
    }

    /// What to write for this note.
    pub(super) fn take(&mut self, object: &ObjectReference, note: &Note, now: Timestamp) -> Write {
        self.told.retain(|_, event| last_seen(event).is_some_and(|seen| now.duration_since(seen) < ONE_SERIES));
        let told = Told::new(object, note);
        if let Some(event) = self.told.get_mut(&told) {
            let count = event.series.as_ref().map_or(2, |series| series.count.saturating_add(1));
            event.series = Some(EventSeries { count, last_observed_time: MicroTime(now) });
            return Write::Count(event.clone());
        }
        let event = self.event(object, note, now);
        self.told.insert(told, event.clone());
        Write::Create(event)
    }

    /// The Event of this note is not there.
    pub(super) fn forget(&mut self, object: &ObjectReference, note: &Note) {
        self.told.remove(&Told::new(object, note));
    }

    fn event(&self, object: &ObjectReference, note: &Note, now: Timestamp) -> Event {
        let mut message = note.message.clone();
        message.truncate(message.floor_char_boundary(LONGEST));
        let name = object.name.as_deref().unwrap_or_default();
        Event {
            // Two of one instant are of two writers, or of one that waits for each write.
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: object.namespace.clone(),
                ..ObjectMeta::default()
            },
            action: Some(note.reason.to_owned()),
            reason: Some(note.reason.to_owned()),
            note: Some(message),
            type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(object.clone()),
            reporting_controller: Some(self.reporter.controller.clone()),
            reporting_instance: Some(self.reporter.instance.clone()),
            ..Event::default()
        }
    }
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    event.series.as_ref().map(|series| series.last_observed_time.0).or_else(|| event.event_time.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What was written: a new Event with its text, or the number of times that one has happened.
    fn written(write: Write) -> Result<String, i32> {
        match write {
            Write::Create(event) => Ok(event.note.unwrap()),
            Write::Count(event) => Err(event.series.unwrap().count),
        }
    }

    #[test]
    fn other_words_are_another_event_and_the_same_words_are_counted() {
        let mut series = Series::new(Reporter { controller: "mesh-controller/x".to_owned(), instance: "here".to_owned() });
        let web = ObjectReference { name: Some("web".to_owned()), uid: Some("1".to_owned()), ..ObjectReference::default() };
        let api = ObjectReference { uid: Some("2".to_owned()), ..web.clone() };
        let mut tell =
            |object: &ObjectReference, text: &str, second| written(series.take(object, &Note::warning("BackOff", text), at(second)));
        assert_eq!(tell(&web, "exit code 1", 0), Ok("exit code 1".to_owned()));
        assert_eq!(tell(&web, "exit code 2", 1), Ok("exit code 2".to_owned()));
        assert_eq!(tell(&web, "exit code 1", 2), Err(2));
        assert_eq!(tell(&web, "exit code 1", 3), Err(3));
        assert_eq!(tell(&api, "exit code 1", 4), Ok("exit code 1".to_owned()), "another object of the same name");
        assert_eq!(tell(&web, "exit code 1", 3 + 360), Ok("exit code 1".to_owned()), "after a while it is news again");
    }

    #[test]
    fn an_event_that_could_not_be_written_is_made_anew_and_a_long_text_is_cut_between_two_letters() {
        let mut series = Series::new(Reporter { controller: "mesh-controller/x".to_owned(), instance: "here".to_owned() });
        let web = ObjectReference::default();
        let note = Note::normal("Ready", "ä".repeat(600));
        assert_eq!(written(series.take(&web, &note, at(0))), Ok("ä".repeat(512)));
        series.forget(&web, &note);
        assert!(written(series.take(&web, &note, at(1))).is_ok());
    }
}
