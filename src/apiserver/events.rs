//! The task that forgets each event an hour after it was last seen, so that the store does not grow with time.
use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    object,
    rest::{self, Deletion},
    state::State,
};
use mesh_kit::clock;

/// How long an event is kept after it was last seen; Kubernetes' default.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
const LOOK_EVERY: Duration = Duration::from_mins(2);

/// Removes old events for as long as the server runs.
pub(crate) async fn expire(server: Arc<State>) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    loop {
        interval.tick().await;
        forget(&server, clock::now() - KEPT).await;
    }
}

async fn forget(server: &State, before: Timestamp) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_was_last_seen_at_the_latest_of_its_times() {
        let event = json!({"metadata": {"creationTimestamp": "2026-11-21T08:00:00Z"}, "series": {"lastObservedTime": "2026-11-21T09:30:00.123456Z"}});
        assert_eq!(last_seen(&event), Some("2026-11-21T09:30:00.123456Z".parse().unwrap()));
        assert_eq!(last_seen(&json!({})), None);
    }
}
