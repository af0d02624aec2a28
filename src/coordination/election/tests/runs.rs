//! The runner in paused time, over an API of one Lease that can be slow, away, or written by others.
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, advance, sleep, timeout},
};
use tower::{BoxError, service_fn};

use super::*;
use crate::Leadership;
use mesh_kit::clock::BootClock;

/// An API that knows one Lease.
#[derive(Clone, Default)]
struct OneLease {
    lease: Arc<Mutex<Option<Value>>>,
    version: Arc<AtomicU64>,
    away: Arc<AtomicBool>,
}

impl OneLease {
    fn client(&self) -> Client {
        let this = self.clone();
        Client::new(
            service_fn(move |request: Request<Body>| {
                let this = this.clone();
                async move {
                    while this.away.load(Ordering::SeqCst) {
                        sleep(Duration::from_millis(50)).await;
                    }
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let (code, answer) = this.answer(&parts.method, &body);
                    Ok::<_, BoxError>(Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()))?)
                }
            }),
            "default",
        )
    }

    fn answer(&self, method: &Method, body: &[u8]) -> (StatusCode, Value) {
        let failed = |code: StatusCode| {
            let reason = if code == StatusCode::CONFLICT { "Conflict" } else { "NotFound" };
            (code, json!({ "kind": "Status", "code": code.as_u16(), "reason": reason, "message": reason, "status": "Failure" }))
        };
        let mut known = self.lease.lock().unwrap();
        if *method == Method::GET {
            return known.clone().map_or_else(|| failed(StatusCode::NOT_FOUND), |lease| (StatusCode::OK, lease));
        }
        let mut sent: Value = serde_json::from_slice(body).unwrap();
        let version = known.as_ref().map_or(Value::Null, |lease| lease["metadata"]["resourceVersion"].clone());
        if sent["metadata"]["resourceVersion"] != version {
            return failed(StatusCode::CONFLICT);
        }
        let next = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        sent["metadata"]["resourceVersion"] = json!(next.to_string());
        *known = Some(sent.clone());
        (StatusCode::OK, sent)
    }

    fn holder(&self) -> String {
        self.lease.lock().unwrap().as_ref().map(|lease| lease["spec"]["holderIdentity"].as_str().unwrap().to_owned()).unwrap_or_default()
    }
}

struct Running {
    leadership: Leadership,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A candidate whose clock is tokio's, so that paused time moves it.
#[expect(clippy::disallowed_methods, reason = "the test ends the task itself")]
fn stand(api: &OneLease, identity: &str, start: Instant) -> Running {
    let clock = BootClock::from_fn(move || BootTime::after_boot(start.elapsed() + Duration::from_secs(1)));
    let options = Options {
        namespace: "mesh-system".into(),
        name: "mesh-controller".into(),
        identity: identity.into(),
        timing: Timing::default(),
        clock,
    };
    let election = Election::new(api.client(), options);
    let leadership = election.leadership();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        election.run(async { drop(stopped.await) }).await.unwrap();
    });
    Running { leadership, stop, task }
}

/// Waits for leadership; returns after how long.
async fn leads(running: &Running, within: u64) -> Duration {
    let start = Instant::now();
    let mut leading = running.leadership.leading();
    timeout(Duration::from_secs(within), leading.wait_for(|leading| *leading)).await.expect("in time").unwrap();
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_renews_and_gives_the_lease_back_so_that_the_next_need_not_wait() {
    let (api, start) = (OneLease::default(), Instant::now());
    let first = stand(&api, "first", start);
    leads(&first, 1).await;
    let second = stand(&api, "second", start);
    sleep(Duration::from_secs(120)).await;
    assert!(first.leadership.may_write() && !second.leadership.may_write());
    let renewals = api.version.load(Ordering::SeqCst);
    assert!((55..=62).contains(&renewals), "{renewals} renewals in 120 s");

    first.stop.send(()).unwrap();
    first.task.await.unwrap();
    assert!(!first.leadership.may_write() && !*first.leadership.leading().borrow());
    assert!(leads(&second, 3).await <= Duration::from_secs(2));
    assert_eq!(api.holder(), "second");
}

#[tokio::test(start_paused = true)]
async fn who_dies_without_a_word_is_replaced_within_the_lease_and_one_retry() {
    for seed in 0..20 {
        let (api, start) = (OneLease::default(), Instant::now());
        let first = stand(&api, "first", start);
        leads(&first, 1).await;
        let second = stand(&api, "second", start);
        sleep(Duration::from_millis(10_000 + 137 * seed)).await;
        first.task.abort();
        let took = leads(&second, 20).await;
        assert!(took <= Duration::from_secs(17), "{took:?}");
        assert!(!first.leadership.may_write() && second.leadership.may_write());
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_api_is_away_stops_writing_after_the_deadline_and_leads_again_after_it() {
    let (api, start) = (OneLease::default(), Instant::now());
    let only = stand(&api, "only", start);
    leads(&only, 1).await;
    let mut leading = only.leadership.leading();
    leading.borrow_and_update();
    api.away.store(true, Ordering::SeqCst);
    let since = Instant::now();
    timeout(Duration::from_secs(11), leading.wait_for(|leading| !leading)).await.expect("it ends").unwrap();
    assert!((Duration::from_secs(8)..=Duration::from_millis(10_100)).contains(&since.elapsed()), "{:?}", since.elapsed());
    assert!(!only.leadership.may_write());
    sleep(Duration::from_secs(60)).await;
    api.away.store(false, Ordering::SeqCst);
    leads(&only, 8).await;
    assert!(only.leadership.may_write());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_may_not_write_when_it_wakes() {
    let (api, start) = (OneLease::default(), Instant::now());
    let first = stand(&api, "first", start);
    leads(&first, 1).await;
    // Time goes on, and none of its tasks has run.
    advance(Duration::from_secs(30)).await;
    assert!(!first.leadership.may_write());
    // Nobody took the lease meanwhile: it leads again, and whoever waits for that is told.
    leads(&first, 3).await;
    timeout(Duration::from_secs(3), async {
        while !first.leadership.may_write() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it renews");
}

#[tokio::test(start_paused = true)]
async fn a_note_on_the_lease_or_its_deletion_does_not_end_the_leadership() {
    let (api, start) = (OneLease::default(), Instant::now());
    let only = stand(&api, "only", start);
    leads(&only, 1).await;
    let mut leading = only.leadership.leading();
    leading.borrow_and_update();
    if let Some(lease) = &mut *api.lease.lock().unwrap() {
        lease["metadata"]["resourceVersion"] = json!("900");
    }
    sleep(Duration::from_secs(20)).await;
    *api.lease.lock().unwrap() = None;
    sleep(Duration::from_secs(20)).await;
    assert!(only.leadership.may_write() && !leading.has_changed().unwrap());
    assert_eq!(api.holder(), "only");
}
