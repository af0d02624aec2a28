//! The watch of one kind, whatever the API answers: a failure is followed by a new attempt after a growing pause, and goes on from the last revision if the
//! API still knows it. The first of a row is said; what only a person can mend (no permission, no such kind) is said with its remedy.
pub mod refused;

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, Resource,
    core::Status,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use self::refused::{Chain, remedy};
use super::backoff::Backoff;

/// While the API is away, or has too much to do.
const AWAY: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(5) };
/// What somebody has to mend is looked for seldom.
const REFUSED: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(30) };

/// The events of one kind, without an end; `who` watches, and `trim` takes away what it does not read.
pub fn events<K>(api: Api<K>, config: watcher::Config, who: &'static str, trim: fn(&mut K)) -> BoxStream<'static, Event<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    events_and_gaps(api, config, who, trim).filter_map(std::future::ready).boxed()
}

/// The same, and nothing in the place of whatever may have happened during a failure: once for each attempt, as soon as it failed.
pub fn events_and_gaps<K>(api: Api<K>, config: watcher::Config, who: &'static str, trim: fn(&mut K)) -> BoxStream<'static, Option<Event<K>>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let namespace = api.namespace().map(str::to_owned);
    let stream = watcher(api, config).modify(trim).boxed();
    let what = format!("{}.{}", K::plural(&()), K::group(&())).trim_end_matches('.').to_owned();
    let troubles = Troubles { who, what, namespace, row: 0, told: None };
    let next = |(mut stream, mut troubles, pause): (BoxStream<'static, watcher::Result<Event<K>>>, Troubles, Duration)| async move {
        tokio::time::sleep(pause).await;
        match stream.next().await? {
            Ok(event) => {
                // Not when a list begins: it may fail yet.
                if !matches!(event, Event::Init | Event::InitApply(_)) {
                    troubles.over();
                }
                Some((Some(event), (stream, troubles, Duration::ZERO)))
            }
            Err(error) => {
                let pause = troubles.take(&error, rand::random());
                Some((None, (stream, troubles, pause)))
            }
        }
    };
    futures::stream::unfold((stream, troubles, Duration::ZERO), next).boxed()
}

/// The failures in a row of one watch.
#[derive(Debug)]
struct Troubles {
    who: &'static str,
    /// The resource, as rules of RBAC have it.
    what: String,
    namespace: Option<String>,
    row: u32,
    /// The status that was said last.
    told: Option<u16>,
}

impl Troubles {
    /// It goes on.
    fn over(&mut self) {
        if self.told.take().is_some() {
            tracing::info!(resource = self.what, "{}: the API lets it watch these now", self.who);
        }
        self.row = 0;
    }

    /// Says what has to be said; how long to wait.
    fn take(&mut self, error: &watcher::Error, jitter: f64) -> Duration {
        // One failure may pass at once, but not in a loop of failures that each begin well.
        self.row = self.row.max(1).saturating_add(1);
        let (verb, status) = refusal(error);
        let Some((status, remedy)) = status.and_then(|status| Some((status, remedy(status, verb, &self.what, self.namespace.as_deref())?)))
        else {
            if self.row == 2 {
                tracing::warn!(resource = self.what, error = %Chain(error), "{}: the watch was interrupted; it goes on as soon as the API answers", self.who);
            } else {
                tracing::debug!(resource = self.what, error = %Chain(error), failures = self.row, "{}: watch", self.who);
            }
            return AWAY.delay(self.row, jitter);
        };
        if self.told.replace(status.code) != Some(status.code) {
            tracing::warn!(resource = self.what, verb, status = status.code, message = status.message, "{}: {remedy}", self.who);
        }
        REFUSED.delay(self.row, jitter)
    }
}

/// What was asked for, and what the API said to it.
fn refusal(error: &watcher::Error) -> (&'static str, Option<&Status>) {
    match error {
        watcher::Error::InitialListFailed(error) => ("list", status(error)),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", status(error)),
        watcher::Error::WatchError(status) => ("watch", Some(status)),
        watcher::Error::NoResourceVersion => ("list", None),
    }
}

fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> watcher::Error {
        watcher::Error::InitialListFailed(kube::Error::Api(Status { code, ..Status::default() }.boxed()))
    }

    #[test]
    fn what_somebody_has_to_mend_is_tried_seldom_and_an_api_that_is_away_soon_again() {
        let waits = |error: watcher::Error| {
            let mut troubles =
                Troubles { who: "router", what: "meshservices.mesh-controller.dev".into(), namespace: None, row: 0, told: None };
            (0..9).map(|_| troubles.take(&error, 0.0).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(waits(refused(403)), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        assert_eq!(waits(refused(503)), [500, 1000, 2000, 4000, 5000, 5000, 5000, 5000, 5000]);
    }
}
