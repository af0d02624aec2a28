//! Hears the engine's events for as long as the backend lives. Where they could not be heard, everything is looked at again.
use std::{sync::Arc, time::Duration};

use futures::{StreamExt, pin_mut};
use tokio::time::sleep;

use super::{Inner, identity};
use crate::{Error, engine};
use mesh_api::labels;
use mesh_kit::{backoff::Backoff, clock};

const AGAIN: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(5) };
/// Events are asked for from this long before the gap began: the engine counts whole seconds.
const OVERLAP_SECONDS: i64 = 2;

/// Watches until shutdown.
pub(super) async fn watch(inner: Arc<Inner>) {
    tokio::select! {
        () = inner.shutdown.triggered() => {}
        () = hear(&inner) => {}
    }
}

async fn hear(inner: &Inner) {
    let mut failures = 0;
    let mut since = clock::now().as_second();
    loop {
        let error = match follow(inner, since - OVERLAP_SECONDS, &mut failures).await {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        since = if failures == 0 { clock::now().as_second() } else { since };
        failures += 1;
        // A stream that merely ended says nothing against the engine yet; the ping that follows does.
        if let Some(error) = error {
            let changed = inner.health.send_if_modified(|health| {
                let news = health.as_ref() != Err(&error);
                *health = Err(error.clone());
                news
            });
            if changed {
                tracing::warn!(%error, "the container engine cannot be heard; asked again until it can");
                look_again_at_known(inner);
            }
        }
        sleep(AGAIN.delay(failures, rand::random())).await;
    }
}

/// Follows the events from a time on, until they end.
async fn follow(inner: &Inner, since: i64, failures: &mut u32) -> Result<(), engine::Error> {
    inner.engine.ping().await?;
    let events = inner.engine.events((labels::CONTROLLER, &inner.controller), since);
    pin_mut!(events);
    // They are replayed from `since`, so nothing falls between this look and the first of them.
    if relist(inner).await.is_ok() {
        *failures = 0;
        if inner.health.send_if_modified(|health| std::mem::replace(health, Ok(())).is_err()) {
            tracing::info!(engine = inner.engine.name(), "the container engine answers again");
        }
    }
    while let Some(event) = events.next().await {
        let labels = event?;
        if let Some(key) = identity::key(|label| labels.get(label)) {
            inner.slots.look_again(&key);
            inner.subscribers.tell(&key);
        }
    }
    Ok(())
}

async fn relist(inner: &Inner) -> Result<(), Error> {
    look_again_at_known(inner);
    for key in inner.list().await? {
        inner.subscribers.tell(&key);
    }
    Ok(())
}

fn look_again_at_known(inner: &Inner) {
    for key in inner.slots.keys() {
        inner.slots.look_again(&key);
        inner.subscribers.tell(&key);
    }
}
