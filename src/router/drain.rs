//! Acknowledged drain: an instance that is ending gets nothing new, and when all it had has ended, every router says so in its status. For a pod, whose
//! status is not the router's, it says so to whoever waits for [`Live::let_go`] (see [`super::hook`]).
//! [`Drains`] decides, without IO; [`report`] writes what it decided.
//!
//! - Without affinity an endpoint is closed at the first moment at which nothing is under way.
//! - A session may come back until the deadline (the service's `drain.timeout` from when this router saw the end begin); an endpoint that this router never
//!   tied a session to does not wait for it.
//! - Just before the deadline it is closed in any case, and its tunnels are told to end.
use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    endpoint::{Condition, Endpoint, InstanceRef, Live},
    metrics::RouterMetrics,
    table::{Departed, RouteTable},
};
use mesh_api::{MeshInstance, instance::RouterDrain, service::Strategy};

/// How often a count that changes is reported, and a report that failed is tried again.
const PROGRESS: Duration = Duration::from_secs(1);
/// An endpoint that no slice has any more may be on its way to another slice: it counts as gone after this.
const MOVES: Duration = Duration::from_secs(1);
/// Tunnels are told to end so long before the deadline at most, that they may do so before the instance is told to stop.
const FAREWELL: Duration = Duration::from_secs(1);
const REPORTS_AT_ONCE: usize = 16;
/// An API that does not answer for so long counts as away; the other reports do not wait for it longer.
const WRITE: Duration = Duration::from_secs(5);

/// What is to be written about one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub instance: InstanceRef,
    /// In which revision of a slice its end was seen.
    pub slice_revision: String,
    /// What is under way.
    pub in_flight: u64,
    /// Nothing is, and nothing will be.
    pub drained: bool,
}

#[derive(Debug)]
struct Drain {
    instance: InstanceRef,
    live: Arc<Live>,
    slice_revision: String,
    /// Sessions may come back.
    sessions: bool,
    deadline: Instant,
    /// Before this it is not closed.
    may_return: Option<Instant>,
    reported: Option<(u64, bool, Instant)>,
    not_before: Instant,
}

/// The drains under way, by the endpoints' live ids.
#[derive(Debug, Default)]
pub struct Drains(HashMap<u64, Drain>);

impl Drains {
    /// Takes over which endpoints are ending.
    pub fn update(&mut self, table: &RouteTable, now: Instant) {
        let mut before: HashMap<u64, Drain> = std::mem::take(&mut self.0);
        for service in &table.services {
            for endpoint in service.endpoints.iter().filter(|e| e.condition.is_ending()) {
                let sessions = service.strategy == Strategy::SessionAffinity && endpoint.condition == Condition::Terminating;
                let known = before.remove(&endpoint.live.id);
                let drain = known.unwrap_or_else(|| Drain::begin(endpoint, service.drain_timeout, now));
                self.0.insert(endpoint.live.id, Drain { sessions, may_return: None, ..drain });
            }
        }
        for Departed { endpoint, drain_timeout, .. } in &table.departed {
            let drain = before.remove(&endpoint.live.id).map(|known| Drain { sessions: false, ..known });
            let drain = drain.unwrap_or_else(|| Drain { may_return: Some(now + MOVES), ..Drain::begin(endpoint, *drain_timeout, now) });
            self.0.insert(endpoint.live.id, Drain { instance: endpoint.instance.clone(), ..drain });
        }
        // Not ending after all.
        for drain in before.values() {
            drain.live.undrain();
        }
    }

    /// What is to be reported now, and when to look again (sooner if an endpoint has become quiet).
    pub fn step(&mut self, now: Instant) -> (Vec<Report>, Option<Instant>) {
        let (mut reports, mut wake) = (Vec::new(), None::<Instant>);
        for drain in self.0.values_mut() {
            let (report, again) = drain.step(now);
            reports.extend(report);
            wake = [wake, again].into_iter().flatten().min();
        }
        (reports, wake)
    }

    /// A report could not be written: it is made again, later.
    pub fn failed(&mut self, uid: &str, now: Instant) {
        for drain in self.0.values_mut().filter(|drain| drain.instance.uid == uid) {
            drain.reported = None;
            drain.not_before = now + PROGRESS;
        }
    }
}

impl Drain {
    fn begin(endpoint: &Endpoint, timeout: Duration, now: Instant) -> Self {
        endpoint.live.drain();
        Self {
            instance: endpoint.instance.clone(),
            live: endpoint.live.clone(),
            slice_revision: endpoint.slice_revision.clone(),
            sessions: false,
            deadline: now + timeout.saturating_sub(FAREWELL.min(timeout / 10)),
            may_return: None,
            reported: None,
            not_before: now,
        }
    }

    fn step(&mut self, now: Instant) -> (Option<Report>, Option<Instant>) {
        let over = now >= self.deadline;
        if over {
            self.live.close();
            self.live.cut.cancel();
        }
        let waits_for_sessions = self.sessions && self.live.is_pinned() && !over;
        let may_return = self.may_return.filter(|until| *until > now);
        let drained = !waits_for_sessions && may_return.is_none() && self.live.close_if_idle();
        if drained {
            self.live.let_go.cancel();
        }
        let in_flight = self.live.in_flight();
        let due = match self.reported {
            None => self.not_before <= now,
            Some((_, done, _)) if drained != done => true,
            Some((count, _, at)) => count != in_flight && now.duration_since(at) >= PROGRESS,
        };
        let report = due.then(|| {
            self.reported = Some((in_flight, drained, now));
            Report { instance: self.instance.clone(), slice_revision: self.slice_revision.clone(), in_flight, drained }
        });
        let progress = (in_flight > 0 || self.reported.is_none()).then(|| now + PROGRESS);
        let deadline = (!over).then_some(self.deadline);
        // Drained and said so: nothing more will come of it.
        let again = if drained && self.reported.is_some() { None } else { [progress, deadline, may_return].into_iter().flatten().min() };
        (report, again)
    }
}

/// Follows the tables and writes reports, for as long as it is polled. `quiet` is told by endpoints that have nothing under way any more.
pub async fn report(
    client: Client,
    router: &str,
    mut tables: watch::Receiver<Arc<RouteTable>>,
    quiet: Arc<Notify>,
    metrics: Arc<RouterMetrics>,
) {
    let mut drains = Drains::default();
    loop {
        let table = tables.borrow_and_update().clone();
        drains.update(&table, Instant::now());
        let (reports, wake) = drains.step(Instant::now());
        let (reports, others): (Vec<Report>, Vec<Report>) = reports.into_iter().partition(|report| report.instance.acknowledged);
        // Not by its status, but by whoever waits for it.
        for report in &others {
            settle(&mut drains, report, Ok(()), &metrics);
        }
        let written = stream::iter(reports).map(|report| write(&client, router, report)).buffer_unordered(REPORTS_AT_ONCE);
        let written: Vec<(Report, Result<(), kube::Error>)> = written.collect().await;
        for (report, result) in written {
            settle(&mut drains, &report, result, &metrics);
        }
        tokio::select! {
            changed = tables.changed() => if changed.is_err() { return },
            () = quiet.notified() => {}
            () = until(wake) => {}
        }
    }
}

fn settle(drains: &mut Drains, report: &Report, result: Result<(), kube::Error>, metrics: &RouterMetrics) {
    let name = report.instance.name.as_str();
    match result {
        Ok(()) if report.drained => {
            metrics.drains.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tracing::info!(namespace = report.instance.namespace, name, "instance drained");
        }
        Ok(()) => tracing::debug!(namespace = report.instance.namespace, name, in_flight = report.in_flight, "instance draining"),
        // Gone, or another of that name by now: nobody waits for the report.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => {
            tracing::warn!(namespace = report.instance.namespace, name, %error, "report a drain");
            drains.failed(&report.instance.uid, Instant::now());
        }
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn write(client: &Client, router: &str, report: Report) -> (Report, Result<(), kube::Error>) {
    let Report { instance, slice_revision, in_flight, drained } = &report;
    let entry = RouterDrain {
        name: router.to_owned(),
        slice_revision: slice_revision.clone(),
        in_flight: i64::try_from(*in_flight).unwrap_or(i64::MAX),
        drained: *drained,
    };
    // The uid is a precondition: names come back, and an acknowledgement must not reach the successor.
    let patch = json!({
        "apiVersion": format!("{}/{}", mesh_api::GROUP, mesh_api::VERSION),
        "kind": "MeshInstance",
        "metadata": { "name": instance.name, "namespace": instance.namespace, "uid": instance.uid },
        "status": { "routers": [entry] },
    });
    let api: Api<MeshInstance> = Api::namespaced(client.clone(), &instance.namespace);
    let params = PatchParams::apply(&format!("mesh-router/{router}")).force();
    let patch = Patch::Apply(patch);
    let result = match tokio::time::timeout(WRITE, api.patch_status(&instance.name, &params, &patch)).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut)))),
    };
    (report, result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::fixture::{self, ending, endpoint, service};

    fn table(strategy: Strategy, terminating: &[Arc<Endpoint>]) -> RouteTable {
        fixture::table(vec![service(strategy, vec![], terminating.to_vec())], &[])
    }

    /// A drain that began now, of one endpoint.
    fn drain(strategy: Strategy, of: &Endpoint) -> (Drains, Instant) {
        let (mut drains, now) = (Drains::default(), Instant::now());
        drains.update(&table(strategy, &[ending(of)]), now);
        (drains, now)
    }

    fn said(reports: &[Report]) -> Vec<(u64, bool)> {
        reports.iter().map(|r| (r.in_flight, r.drained)).collect()
    }

    #[tokio::test]
    async fn an_idle_endpoint_is_drained_in_one_report() {
        let a = endpoint("a", 1);
        let (mut drains, now) = drain(Strategy::RoundRobin, &a);
        let (reports, wake) = drains.step(now);
        assert_eq!((said(&reports), wake), (vec![(0, true)], None));
        assert!(a.live.begin().is_none());
        assert!(a.live.let_go.is_cancelled());
        assert_eq!(drains.step(now + PROGRESS * 5).0, []);
    }

    #[tokio::test]
    async fn a_busy_one_is_reported_at_once_then_once_a_second_then_when_it_is_done() {
        let a = endpoint("a", 1);
        let (one, two) = (a.live.begin(), a.live.begin());
        let (mut drains, now) = drain(Strategy::RoundRobin, &a);
        assert_eq!(said(&drains.step(now).0), [(2, false)]);
        drop(one);
        assert_eq!(said(&drains.step(now + PROGRESS / 2).0), []);
        assert_eq!(said(&drains.step(now + PROGRESS).0), [(1, false)]);
        drop(two);
        assert_eq!(said(&drains.step(now + PROGRESS).0), [(0, true)]);
    }

    #[tokio::test]
    async fn sessions_are_waited_for_until_shortly_before_the_deadline() {
        let a = endpoint("a", 1);
        a.live.pin();
        let (mut drains, now) = drain(Strategy::SessionAffinity, &a);
        let (reports, wake) = drains.step(now);
        let deadline = now + Duration::from_secs(29);
        assert_eq!((said(&reports), wake), (vec![(0, false)], Some(deadline)));
        assert!(a.live.begin().is_some(), "a session may come back");
        assert_eq!(said(&drains.step(deadline).0), [(0, true)]);
        assert!(a.live.begin().is_none());
        assert!(a.live.cut.is_cancelled());
    }

    #[tokio::test]
    async fn a_report_that_failed_is_made_again_later() {
        let a = endpoint("a", 1);
        let (mut drains, now) = drain(Strategy::RoundRobin, &a);
        drains.step(now);
        drains.failed(&a.instance.uid, now);
        let (reports, wake) = drains.step(now);
        assert_eq!((reports.len(), wake), (0, Some(now + PROGRESS)));
        assert_eq!(said(&drains.step(now + PROGRESS).0), [(0, true)]);
    }

    #[tokio::test]
    async fn an_endpoint_that_is_not_ending_after_all_goes_on() {
        let a = endpoint("a", 1);
        let busy = a.live.begin();
        let (mut drains, now) = drain(Strategy::RoundRobin, &a);
        drains.step(now);
        drains.update(&table(Strategy::RoundRobin, &[]), now);
        drop(busy);
        assert_eq!(drains.step(now).0, []);
        assert!(a.live.begin().is_some());
    }

    #[tokio::test]
    async fn an_endpoint_in_no_slice_is_closed_when_it_has_nothing_under_way_unless_it_comes_back() {
        let (a, b) = (endpoint("a", 1), endpoint("b", 2));
        let busy = b.live.begin();
        let table = fixture::table(vec![], &[&a, &b]);
        let (mut drains, now) = (Drains::default(), Instant::now());
        drains.update(&table, now);
        let (_, wake) = drains.step(now);
        assert_eq!((wake, a.live.is_closed()), (Some(now + MOVES), false));
        drains.step(now + MOVES);
        assert!(a.live.let_go.is_cancelled());
        assert!(!b.live.let_go.is_cancelled(), "it has a request");
        drop(busy);
        drains.step(now + MOVES);
        assert!(b.live.let_go.is_cancelled());
        let c = endpoint("c", 3);
        drains.update(&fixture::table(vec![], &[&c]), now);
        drains.update(&RouteTable::default(), now);
        drains.step(now + MOVES);
        assert!(!c.live.is_closed(), "it came back");
    }
}
