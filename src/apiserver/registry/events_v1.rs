//! The two shapes of an Event. Stored is the core one; `events.k8s.io/v1` is a view of it, both ways without loss.
use jiff::Timestamp;
use serde_json::{Map, Value, json};

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
pub(super) fn to_events_v1(value: Value) -> Value {
    let Value::Object(mut event) = value else { return value };
    for (core, new) in RENAMED {
        rename(&mut event, core, new);
    }
    rename(&mut event, "count", "deprecatedCount");
    Value::Object(event)
}

/// An `events.k8s.io/v1` event as it is stored.
pub(super) fn to_core_v1(value: Value) -> Value {
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
