//! The two shapes of an Event. Stored is the core one; `events.k8s.io/v1` is a view of it, both ways without loss. Events are forgotten after an hour.
use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    Inner, object,
    rest::{self, Deletion},
};
use mesh_kit::clock;

/// How long an event is kept after it was last seen; Kubernetes' default.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
const LOOK_EVERY: Duration = Duration::from_mins(2);

/// Removes old events for as long as the server runs, so that the store does not grow with time.
pub(crate) async fn expire(server: Arc<Inner>) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    loop {
        interval.tick().await;
        forget(&server, clock::now() - KEPT).await;
    }
}

async fn forget(server: &Inner, before: Timestamp) {
    let registry = server.registry();
    let Some(resource) = registry.stored("events") else { return };
    for entry in server.store.list("events", None).entries {
        if last_seen(&entry.value()).is_some_and(|time| time < before) {
            let deletion = Deletion { revision: Some(entry.revision.to_string()), ..Deletion::default() };
            // One that was seen again meanwhile stays.
            let _ = rest::remove(server, resource, &entry.key.namespace, &entry.key.name, &deletion).await;
        }
    }
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().filter_map(|pointer| object::text(event, pointer)?.parse().ok()).max()
}

/// The fields that only have another name: core, events.k8s.io.
const RENAMED: [(&str, &str); 6] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
];

/// A stored event as `events.k8s.io/v1` shows it.
pub(crate) fn to_events_v1(value: Value) -> Value {
    let Value::Object(mut event) = value else { return value };
    for (core, new) in RENAMED {
        rename(&mut event, core, new);
    }
    rename(&mut event, "count", "deprecatedCount");
    Value::Object(event)
}

/// An `events.k8s.io/v1` event as it is stored.
pub(crate) fn to_core_v1(value: Value) -> Value {
    let Value::Object(mut event) = value else { return value };
    for (core, new) in RENAMED {
        rename(&mut event, new, core);
    }
    rename(&mut event, "deprecatedCount", "count");
    // Readers of the core shape look at count and lastTimestamp; a writer of the new shape tells by its series, or not at all.
    let series = event.get("series").cloned().unwrap_or_default();
    if let Some(count) = series.get("count").filter(|count| count.is_i64()) {
        event.insert("count".to_owned(), count.clone());
    } else if is_empty(event.get("count")) {
        event.insert("count".to_owned(), json!(1));
    }
    let seconds = |time: &Value| time.as_str().and_then(|time| time.parse::<Timestamp>().ok()).map(|time| format!("{time:.0}"));
    let first = event.get("eventTime").and_then(seconds);
    let last = series.get("lastObservedTime").and_then(seconds);
    if let (true, Some(first)) = (is_empty(event.get("firstTimestamp")), first.clone()) {
        event.insert("firstTimestamp".to_owned(), first.into());
    }
    if let Some(last) = last.or_else(|| first.filter(|_| is_empty(event.get("lastTimestamp")))) {
        event.insert("lastTimestamp".to_owned(), last.into());
    }
    Value::Object(event)
}

fn is_empty(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_null() || *value == json!({}) || *value == json!(0))
}

fn rename(event: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = event.remove(from) {
        event.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_was_last_seen_at_the_latest_of_its_times() {
        let event = json!({"metadata": {"creationTimestamp": "2026-11-21T08:00:00Z"}, "series": {"lastObservedTime": "2026-11-21T09:30:00.123456Z"}});
        assert_eq!(last_seen(&event), Some("2026-11-21T09:30:00.123456Z".parse().unwrap()));
        assert_eq!(last_seen(&json!({})), None);
    }

    #[test]
    fn an_event_of_the_new_group_is_one_of_the_core_group_and_back() {
        let new = json!({"metadata": {"name": "e"}, "regarding": {"name": "w"}, "note": "hello", "reportingController": "c", "eventTime": "2026-11-21T08:30:06.123456Z",
            "series": {"count": 3, "lastObservedTime": "2026-11-21T08:31:06.123456Z"}});
        let core = to_core_v1(new.clone());
        assert_eq!((&core["involvedObject"]["name"], &core["message"], &core["count"]), (&json!("w"), &json!("hello"), &json!(3)));
        assert_eq!((&core["firstTimestamp"], &core["lastTimestamp"]), (&json!("2026-11-21T08:30:06Z"), &json!("2026-11-21T08:31:06Z")));
        let back = to_events_v1(core);
        assert_eq!((&back["regarding"], &back["note"], &back["deprecatedCount"]), (&new["regarding"], &new["note"], &json!(3)));
    }
}
