//! One router's part: whether it has let a pod go, as its route table and the endpoint's live state say.
use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{endpoint::Live, table::RouteTable};

/// A pod that no table has had for so long is no endpoint of ours. A slice that is on its way is here by then.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Why a pod may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was ending, and all it had has ended.
    Drained,
    /// It is in no table.
    Unknown,
    /// The router itself has ended.
    Ended,
}

impl Seen {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Unknown => "no endpoint",
            Self::Ended => "the router has ended",
        }
    }
}

/// Waits until the pod is let go.
pub(super) async fn let_go(uid: &str, mut tables: watch::Receiver<Arc<RouteTable>>) -> Seen {
    let mut unknown_until = None;
    loop {
        let table = tables.borrow_and_update().clone();
        let lives = lives(&table, uid);
        if let Some(live) = lives.iter().find(|live| !live.let_go.is_cancelled()) {
            unknown_until = None;
            drop(table);
            // Whatever becomes of it: one that leaves the tables is let go as well.
            live.let_go.cancelled().await;
            continue;
        }
        if !lives.is_empty() {
            return Seen::Drained;
        }
        let until = table.synced.then(|| *unknown_until.get_or_insert_with(|| Instant::now() + UNKNOWN));
        drop(table);
        tokio::select! {
            // The sender lives as long as the hooks do.
            _ = tables.changed() => {}
            () = patience(until) => return Seen::Unknown,
        }
    }
}

async fn patience(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// The pod as an endpoint, of each service that it is one of.
fn lives(table: &RouteTable, uid: &str) -> Vec<Arc<Live>> {
    let departed = table.departed.iter().map(|departed| &departed.endpoint);
    let all = table.services.iter().flat_map(|service| &service.endpoints).chain(departed);
    all.filter(|endpoint| endpoint.instance.uid == uid).map(|endpoint| endpoint.live.clone()).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::{
        endpoint::Endpoint,
        table::fixture::{self, endpoint, service},
    };
    use mesh_api::service::Strategy;

    fn table(endpoints: &[&Arc<Endpoint>]) -> Arc<RouteTable> {
        let services = endpoints.iter().map(|endpoint| service(Strategy::RoundRobin, vec![(*endpoint).clone()], vec![]));
        Arc::new(fixture::table(services.collect(), &[]))
    }

    /// How it stands a moment later, in a time that goes by at once.
    async fn after(wait: Duration, seen: &mut (impl Future<Output = Seen> + Unpin)) -> Option<Seen> {
        tokio::time::timeout(wait, seen).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_is_let_go_when_every_service_has_drained_it() {
        let (a, b) = (endpoint("a", 1), endpoint("a", 1));
        let uid = a.instance.uid.clone();
        let tables = watch::Sender::new(table(&[&a, &b]));
        let mut seen = let_go(&uid, tables.subscribe()).boxed();
        assert_eq!(after(Duration::from_secs(60), &mut seen).await, None, "it is ready");
        a.live.let_go.cancel();
        assert_eq!(after(Duration::from_secs(60), &mut seen).await, None, "it is in another service too");
        b.live.let_go.cancel();
        assert_eq!(after(Duration::ZERO, &mut seen).await, Some(Seen::Drained));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_is_no_endpoint_is_waited_for_a_moment_once_the_router_knows_anything() {
        let tables = watch::Sender::new(Arc::new(RouteTable::default()));
        let mut seen = let_go("u", tables.subscribe()).boxed();
        assert_eq!(after(Duration::from_secs(60), &mut seen).await, None, "no table yet");
        tables.send_replace(table(&[]));
        assert_eq!(after(UNKNOWN / 2, &mut seen).await, None);
        tables.send_replace(table(&[]));
        assert_eq!(after(UNKNOWN / 2 + Duration::from_millis(1), &mut seen).await, Some(Seen::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_left_the_slices_with_a_request_is_waited_for() {
        let a = endpoint("a", 1);
        let tables = watch::Sender::new(Arc::new(fixture::table(vec![], &[&a])));
        let mut seen = let_go(&a.instance.uid, tables.subscribe()).boxed();
        assert_eq!(after(UNKNOWN * 2, &mut seen).await, None);
        a.live.let_go.cancel();
        assert_eq!(after(Duration::ZERO, &mut seen).await, Some(Seen::Drained));
    }
}
