//! Locks as programs use them.
use std::time::Duration;

use mesh_controller_sdk::{Error, Options};
use mesh_gear::{
    client::soon,
    controller::{kill, until},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{raw::Events, rig::Rig};

fn waiting(seconds: u64) -> Options {
    Options { wait: Some(Duration::from_secs(seconds)), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_has_one_holder_and_a_fence_that_grows_and_says_who_has_it() {
    let rig = Rig::start(2).await;
    let [one, other] = &rig.workers()[..] else { panic!() };
    let metadata = json!({ "why": "nightly" }).as_object().unwrap().clone();
    let held = one.mesh.locks().acquire("orders/1", &Options { metadata, ..Options::default() }).await.unwrap();
    let Err(Error::Held(refused)) = other.mesh.locks().acquire("orders/1", &Options::default()).await else { panic!() };
    assert!(refused.detail.contains(&format!("lock \"orders/1\" is held by {}", one.name)), "{refused}");
    // Not re-entrant, and in vain as well for the one who has it.
    assert!(one.mesh.locks().try_acquire("orders/1", &Options::default()).await.unwrap().is_none());
    let seen = other.mesh.locks().get("orders/1").await.unwrap().unwrap();
    assert_eq!((seen.fence, &seen.holder, seen.metadata["why"].as_str()), (held.fence(), &one.name, Some("nightly")));
    assert_eq!(other.mesh.locks().list().await.unwrap().len(), 1);
    let [(name, holder)] = &rig.leases()[..] else { panic!() };
    assert!(name.starts_with("lock-orders-1-") && holder.starts_with(&one.name), "{name} {holder}");

    let first = held.fence();
    held.release().await;
    assert!(rig.leases().is_empty(), "a lock that nobody holds leaves nothing");
    let held = other.mesh.locks().acquire("orders/1", &Options::default()).await.unwrap();
    assert!(held.fence() > first, "{} after {first}", held.fence());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_was_given_back_is_free_at_once() {
    let rig = Rig::start(2).await;
    let mut last = 0;
    for worker in rig.workers().iter().cycle().take(1000) {
        let held = worker.mesh.locks().acquire("one", &Options::default()).await.unwrap();
        assert!(held.fence() > last, "{} after {last}", held.fence());
        last = held.fence();
        held.release().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_instance_held_is_at_once_the_first_waiters_and_a_lost_lock_is_told() {
    let rig = Rig::start(2).await;
    let [one, other] = &rig.workers()[..] else { panic!() };
    let long = Options { ttl: Duration::from_secs(3600), ..waiting(0) };
    let held = one.mesh.locks().acquire("k", &long).await.unwrap();
    let mut events = Events::open(&rig.socket(), &token(other), "POST", "/v1/locks/k", r#"{"wait":"1h"}"#).await;
    assert_eq!(soon("a place", events.next()).await.unwrap().0, "queued");
    kill(one.pid, "-KILL");
    // Long before an hour is over.
    let (name, lock) = soon("the lock", events.next()).await.unwrap();
    assert!(name == "acquired" && lock["fence"].as_u64().unwrap() > held.fence(), "{name} {lock}");
    assert_eq!(soon("its loss", held.lost()).await.reason, "InstanceEnded");
    // Its token has ended with it.
    let Err(Error::Problem(refused)) = one.mesh.myself().await else { panic!() };
    assert!(refused.status == 401 && refused.detail.contains("run 0 of instance"), "{refused}");
    // The next run of it is another.
    let again = until("the next run", async || {
        let workers = rig.workers();
        let again = workers.into_iter().find(|worker| worker.name == one.name && worker.pid != one.pid)?;
        again.mesh.myself().await.ok()
    });
    assert_eq!(again.await.attempt, 1);
}

fn token(worker: &crate::rig::Worker) -> String {
    std::fs::read_to_string(&worker.token).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_is_served_in_turn_also_over_a_killed_controller_and_what_is_held_stays_held() {
    let mut rig = Rig::start(2).await;
    let workers = rig.workers();
    let held = workers[0].mesh.locks().acquire("k", &Options { ttl: Duration::from_secs(60), ..waiting(0) }).await.unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    let mut waiters = JoinSet::new();
    for number in 0..8_usize {
        let (locks, sender) = (workers[number % 2].mesh.locks(), sender.clone());
        waiters.spawn(async move {
            let held = locks.acquire("k", &waiting(600)).await.unwrap();
            sender.send((number, held.fence())).unwrap();
            held.release().await;
        });
        // In this order: each is in the queue before the next asks.
        let waits = || rig.controller_metric("mesh_lock_waiters");
        until("it to wait", async || (waits().await == u64::try_from(number + 1).unwrap()).then_some(())).await;
    }
    rig.controller.kill_9_and_start_again().await;
    until("all to be back", async || (rig.controller_metric("mesh_lock_waiters").await == 8).then_some(())).await;
    assert!(held.is_held());
    let first = held.fence();
    held.release().await;
    while waiters.join_next().await.is_some() {}
    let mut order = Vec::new();
    while let Ok(next) = served.try_recv() {
        order.push(next);
    }
    assert_eq!(order.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    assert!(order[0].1 > first && order.is_sorted_by_key(|(_, fence)| *fence), "{order:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_by_one_that_ended_while_the_controller_was_down_is_the_next_ones_when_it_is_back() {
    let mut rig = Rig::start(2).await;
    let workers = rig.workers();
    let long = Options { ttl: Duration::from_secs(3600), ..waiting(0) };
    let ended = workers[0].mesh.locks().acquire("ended", &long).await.unwrap();
    let lives = workers[1].mesh.locks().acquire("lives", &long).await.unwrap();
    rig.controller.kill_9();
    kill(workers[0].pid, "-KILL");
    rig.controller.start_again().await;
    let next = workers[1].mesh.locks();
    let taken = soon("the lock of the one that has ended", next.acquire("ended", &waiting(60))).await.unwrap();
    assert!(taken.fence() > ended.fence());
    assert!(lives.is_held() && next.try_acquire("lives", &long).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_a_person_removes_is_a_lost_lock_and_a_note_on_it_is_not() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    let held = worker.mesh.locks().acquire("k", &Options::default()).await.unwrap();
    rig.controller.kubectl(&["annotate", "lease", "lock-k", "note=x"]);
    let again = worker.mesh.locks().get("k").await.unwrap().unwrap();
    assert_eq!(again.fence, held.fence());
    rig.controller.kubectl(&["delete", "lease", "lock-k"]);
    assert_eq!(soon("its loss", held.lost()).await.reason, "TakenAway");
    assert!(!held.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_count_in_the_namespace_of_who_asks() {
    let rig = Rig::start(1).await;
    rig.controller.kubectl(&["create", "namespace", "other"]);
    let spec = json!({ "type": "Worker", "command": ["sleep", "1000000"] });
    let mut object = mesh_gear::controller::manifest("worker", &spec);
    object["metadata"]["namespace"] = json!("other");
    rig.controller.kubectl(&["apply", "-f", &rig.controller.write("other.yaml", &object)]);
    let one = &rig.workers()[0];
    let _held = one.mesh.locks().acquire("k", &Options::default()).await.unwrap();
    let elsewhere = rig.worker_of("other").await;
    let held = elsewhere.mesh.locks().acquire("k", &Options::default()).await.unwrap();
    assert_eq!(elsewhere.mesh.locks().list().await.unwrap()[0].fence, held.fence());
    assert_eq!(elsewhere.mesh.myself().await.unwrap().namespace, "other");
}
