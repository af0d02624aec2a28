//! What the Events of a service's objects tell, from both of Kubernetes' event groups. A cluster shows each Event in both: it is told once.
use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Event as CoreEvent, events::v1::Event as NewEvent};
use serde::Serialize;

/// Something that was told of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    /// The object's kind.
    pub(super) kind: String,
    /// The object's name.
    pub(super) name: String,
    /// Why, in one word.
    pub(super) reason: String,
    /// What happened.
    pub(super) message: String,
    /// How often.
    pub(super) count: i32,
    /// When last.
    pub(super) last: Option<Timestamp>,
    /// It is a trouble.
    #[serde(skip)]
    pub(super) warning: bool,
    /// The Event's own identity.
    #[serde(skip)]
    pub(super) uid: Option<String>,
}

/// An Event of the core group.
pub(super) fn core(event: CoreEvent) -> Told {
    let series = event.series.unwrap_or_default();
    let last = series.last_observed_time.or(event.event_time).map(|time| time.0);
    Told {
        kind: event.involved_object.kind.unwrap_or_default(),
        name: event.involved_object.name.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: event.count.or(series.count).unwrap_or(1).max(1),
        last: event.last_timestamp.map(|time| time.0).or(last),
        warning: event.type_.as_deref() == Some("Warning"),
        uid: event.metadata.uid,
    }
}

/// An Event of `events.k8s.io`.
pub(super) fn new(event: NewEvent) -> Told {
    let regarding = event.regarding.unwrap_or_default();
    let count = event.series.as_ref().map(|series| series.count).or(event.deprecated_count).unwrap_or(1);
    let last = event.series.map(|series| series.last_observed_time).or(event.event_time).map(|time| time.0);
    Told {
        kind: regarding.kind.unwrap_or_default(),
        name: regarding.name.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.note.unwrap_or_default(),
        count: count.max(1),
        last: event.deprecated_last_timestamp.map(|time| time.0).or(last),
        warning: event.type_.as_deref() == Some("Warning"),
        uid: event.metadata.uid,
    }
}

/// Each once, the newest first; what says the same of one object is one, counted together.
pub(super) fn once(events: Vec<Told>) -> Vec<Told> {
    let mut by_uid: HashMap<String, Told> = HashMap::new();
    let mut without = Vec::new();
    for event in events {
        match event.uid.clone() {
            Some(uid) => drop(by_uid.entry(uid).or_insert(event)),
            None => without.push(event),
        }
    }
    let mut same: HashMap<(String, String, String, String), Told> = HashMap::new();
    for event in by_uid.into_values().chain(without) {
        let key = (event.kind.clone(), event.name.clone(), event.reason.clone(), event.message.clone());
        same.entry(key)
            .and_modify(|told| {
                told.count = told.count.saturating_add(event.count);
                told.last = told.last.max(event.last);
            })
            .or_insert(event);
    }
    let mut events: Vec<Told> = same.into_values().collect();
    events.sort_by(|a, b| (b.last, &a.name, &a.reason, &a.message).cmp(&(a.last, &b.name, &b.reason, &b.message)));
    events
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_told_once_whichever_group_shows_it() {
        let old: CoreEvent = serde_json::from_value(json!({
            "metadata": {"uid": "1"}, "involvedObject": {"kind": "Pod", "name": "web-1"}, "type": "Warning", "reason": "Unhealthy",
            "message": "Readiness probe failed", "count": 12, "lastTimestamp": "2026-01-01T00:00:05Z",
        }))
        .unwrap();
        let same: NewEvent = serde_json::from_value(json!({
            "metadata": {"uid": "1"}, "regarding": {"kind": "Pod", "name": "web-1"}, "type": "Warning", "reason": "Unhealthy",
            "note": "Readiness probe failed", "deprecatedCount": 12, "deprecatedLastTimestamp": "2026-01-01T00:00:05Z", "eventTime": null,
        }))
        .unwrap();
        let again: NewEvent = serde_json::from_value(json!({
            "metadata": {"uid": "2"}, "regarding": {"kind": "Pod", "name": "web-1"}, "type": "Warning", "reason": "Unhealthy",
            "note": "Readiness probe failed", "eventTime": "2026-01-01T00:00:01.000000Z",
            "series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:09.000000Z"},
        }))
        .unwrap();
        let told = once(vec![core(old), new(same), new(again)]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].count, told[0].last), (15, Some("2026-01-01T00:00:09Z".parse().unwrap())));
    }
}
