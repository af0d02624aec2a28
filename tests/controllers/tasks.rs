//! Tasks and their runs, with a backend that does as it is told.
use std::{collections::BTreeSet, time::Duration};

use kube::ResourceExt;
use mesh_api::{MeshInstance, instance::InstanceState, task::TaskRunStatus};
use mesh_controllers::mesh_task::{Asked, ask};
use mesh_plan::instance::ExitHow;
use serde_json::json;

use crate::world::World;

async fn asked(world: &World, task: &str) -> MeshInstance {
    let task = world.task(task).await;
    ask(&world.client, &task, Asked::default()).await.unwrap()
}

/// What the task's status tells of a run, once that is as wanted.
async fn told(world: &World, task: &str, run: &MeshInstance, state: InstanceState) -> TaskRunStatus {
    let name = run.name_any();
    world
        .until(&format!("{name} to be {state:?}"), async || {
            let runs = world.task(task).await.status?.runs;
            runs.into_iter().find(|told| told.name == name && told.state == state)
        })
        .await
}

#[tokio::test]
async fn a_run_that_is_asked_for_runs_once_and_what_it_came_to_and_said_is_told() {
    let world = World::new().await;
    world.apply_task("nightly", json!({ "template": { "command": ["report"] }, "backoffLimit": 0 })).await;
    let run = asked(&world, "nightly").await;
    let key = World::key(&run);
    told(&world, "nightly", &run, InstanceState::Running).await;
    world.backend.log(&key, "12 rows");
    world.backend.exit(&key, ExitHow::Code(0));
    let good = told(&world, "nightly", &run, InstanceState::Succeeded).await;
    assert_eq!((good.tries, good.exit_code, good.message.as_str(), good.last_words.as_deref()), (1, Some(0), "", Some("12 rows")));
    let bad = asked(&world, "nightly").await;
    told(&world, "nightly", &bad, InstanceState::Running).await;
    world.backend.exit(&World::key(&bad), ExitHow::Code(7));
    let bad = told(&world, "nightly", &bad, InstanceState::Failed).await;
    assert_eq!((bad.exit_code, bad.message.as_str()), (Some(7), "it ended with exit code 7"));
    let status = world.task("nightly").await.status.unwrap();
    assert_eq!((status.active, status.last_successful_time), (0, good.completion_time));
    assert!(world.backend.running().is_empty(), "nothing was started again");
}

#[tokio::test]
async fn each_time_of_a_schedule_has_one_run_and_those_of_a_suspended_one_wait() {
    let world = World::new().await;
    world
        .apply_task("tick", json!({ "schedule": "* * * * * *", "template": { "command": ["tick"] }, "successfulJobsHistoryLimit": 2 }))
        .await;
    let mut seen = BTreeSet::new();
    let kept = world.until("a short history of many runs", async || {
        for run in world.instances().await.iter().filter(|run| world.backend.running().contains(&run.name_any())) {
            seen.insert(run.name_any());
            world.backend.exit(&World::key(run), ExitHow::Code(0));
        }
        let status = world.task("tick").await.status?;
        let finished: Vec<_> = status.runs.into_iter().filter(|run| run.completion_time.is_some()).collect();
        (finished.len() == 2 && seen.len() == 4).then_some(finished)
    });
    let kept = kept.await;
    assert!(kept[0].scheduled_time > kept[1].scheduled_time, "newest first");
    world.apply_task("tick", json!({ "schedule": "* * * * * *", "template": { "command": ["tick"] }, "suspend": true })).await;
    let (generation, mut handled) = (world.task("tick").await.metadata.generation, None);
    world
        .until("its rest", async || {
            let status = world.task("tick").await.status?;
            handled = status.handled_until;
            (status.observed_generation == generation).then_some(())
        })
        .await;
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let status = world.task("tick").await.status.unwrap();
    assert_eq!((status.handled_until, status.next_schedule_time), (handled.clone(), None), "its times wait");
    let missed = status.missed_count;
    world.apply_task("tick", json!({ "schedule": "* * * * * *", "template": { "command": ["tick"] }, "suspend": false })).await;
    let status =
        world.until("a time that starts", async || world.task("tick").await.status.filter(|status| status.handled_until > handled));
    let status = status.await;
    let last = status.missed.last().unwrap();
    assert_eq!((last.count, last.reason.as_str()), (status.missed_count - missed, "Superseded"), "one entry: {last:?}");
}

#[tokio::test]
async fn one_that_replaces_another_starts_once_that_has_ended() {
    let world = World::new().await;
    world.apply_task("tick", json!({ "schedule": "@every 1s", "concurrencyPolicy": "Replace", "template": { "command": ["tick"] }, "failedJobsHistoryLimit": 100 })).await;
    let replaced = world.until("two that were replaced", async || {
        assert!(world.backend.running().len() <= 1, "two at once");
        let runs = world.task("tick").await.status?.runs;
        let failed: Vec<_> = runs.into_iter().filter(|run| run.state == InstanceState::Failed).collect();
        (failed.len() == 2).then_some(failed)
    });
    assert!(replaced.await[0].message.starts_with("its time was over"));
}

#[tokio::test]
async fn a_rollout_waits_for_its_task_and_a_failure_stops_it_while_what_ran_runs_on() {
    let world = World::new().await;
    let web = |version: &str| json!({ "command": ["web", version], "replicas": 2, "rollout": { "before": { "task": "migrate" } } });
    world.apply_task("migrate", json!({ "serviceRef": { "name": "web", "command": ["migrate"] }, "backoffLimit": 0 })).await;
    world.apply("web", web("1")).await;
    let run = async |known: &[String]| {
        world
            .until("its run", async || {
                let runs = world.instances().await.into_iter().filter(|run| run.spec.run.is_some());
                runs.into_iter().find(|run| !known.contains(&run.name_any()) && world.backend.running().contains(&run.name_any()))
            })
            .await
    };
    let first = run(&[]).await;
    assert_eq!(world.backend.running(), [first.name_any()], "nothing of the service before");
    world.until("its reason", async || world.not_ready("web").await.filter(|(reason, _)| reason == "WaitingForTask")).await;
    world.backend.exit(&World::key(&first), ExitHow::Code(0));
    world.ready("web").await;
    let old: Vec<String> = world.backend.running();
    world.apply("web", web("2")).await;
    let second = run(&[first.name_any()]).await;
    world.backend.exit(&World::key(&second), ExitHow::Code(3));
    let (reason, message) =
        world.until("the rollout to be stopped", async || world.not_ready("web").await.filter(|(reason, _)| reason == "TaskFailed")).await;
    assert!(message.contains("task migrate has failed") && message.contains(&second.name_any()), "{reason}: {message}");
    // One of the old revision that goes is made again.
    let gone = world.instances().await.into_iter().find(|instance| instance.name_any() == old[0]).unwrap();
    kube::Api::<MeshInstance>::default_namespaced(world.client.clone())
        .delete(&gone.name_any(), &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world
        .until("another one in its place", async || {
            let made = world.instances().await.into_iter().filter(|i| i.spec.run.is_none() && World::is_ready(i) && i.uid() != gone.uid());
            (made.count() == 2).then_some(())
        })
        .await;
    assert!(world.instances().await.iter().filter(|i| i.spec.run.is_none()).all(|i| i.spec.revision == gone.spec.revision));
    // What is changed in the task is tried anew.
    world.apply_task("migrate", json!({ "serviceRef": { "name": "web", "command": ["migrate", "--mended"] }, "backoffLimit": 0 })).await;
    let third = run(&[first.name_any(), second.name_any()]).await;
    world.backend.exit(&World::key(&third), ExitHow::Code(0));
    world.ready("web").await;
}

/// The names of the runs whose programs run.
async fn running(world: &World) -> Vec<String> {
    let runs = world.instances().await.into_iter().filter(|run| run.spec.run.is_some()).map(|run| run.name_any());
    runs.filter(|name| world.backend.running().contains(name)).collect()
}

/// The run that runs alone, and is none of those known.
async fn alone(world: &World, known: &[&str]) -> String {
    world
        .until("a run", async || {
            let running = running(world).await;
            assert!(running.len() <= 1, "two at once: {running:?}");
            running.into_iter().find(|name| !known.contains(&name.as_str()))
        })
        .await
}

async fn exit(world: &World, name: &str) {
    let run = world.instances().await.into_iter().find(|run| run.name_any() == name).unwrap();
    world.backend.exit(&World::key(&run), ExitHow::Code(0));
}

#[tokio::test]
async fn the_run_for_a_later_revision_waits_for_that_of_an_earlier_one_or_ends_it_where_the_task_says_replace() {
    let world = World::new().await;
    let web = |version: &str| json!({ "command": ["web", version], "rollout": { "before": { "task": "migrate" } } });
    let migrate = |policy: &str| json!({ "concurrencyPolicy": policy, "template": { "command": ["migrate"] } });
    world.apply_task("migrate", migrate("Allow")).await;
    world.apply("web", web("1")).await;
    let first = alone(&world, &[]).await;
    world.apply("web", web("2")).await;
    let waits = format!("waits for migrate's run {first} for the earlier revision, which goes on");
    world.until("its reason", async || world.not_ready("web").await.filter(|(_, message)| message.ends_with(&waits))).await;
    exit(&world, &first).await;
    let second = alone(&world, &[&first]).await;
    exit(&world, &second).await;
    let commands = async |world: &World| -> BTreeSet<_> {
        let instances = world.instances().await.into_iter().filter(|instance| instance.spec.run.is_none());
        instances.map(|instance| instance.spec.template.command[1].clone()).collect()
    };
    world.ready("web").await;
    assert_eq!(commands(&world).await, BTreeSet::from(["2".to_owned()]), "the earlier revision was never started");
    world.apply_task("migrate", migrate("Replace")).await;
    world.apply("web", web("3")).await;
    let third = alone(&world, &[&first, &second]).await;
    world.apply("web", web("4")).await;
    let fourth = alone(&world, &[&first, &second, &third]).await;
    exit(&world, &fourth).await;
    world.until("the last revision", async || (commands(&world).await == BTreeSet::from(["4".to_owned()])).then_some(())).await;
}

#[tokio::test]
async fn the_run_for_a_revision_that_is_taken_back_is_not_tried_again_and_that_of_a_deleted_service_is_ended() {
    let world = World::new().await;
    let web = |version: &str| json!({ "command": ["web", version], "rollout": { "before": { "task": "migrate" } } });
    world.apply_task("migrate", json!({ "template": { "command": ["migrate"] }, "backoffLimit": 3 })).await;
    world.apply("web", web("1")).await;
    let first = alone(&world, &[]).await;
    exit(&world, &first).await;
    world.ready("web").await;
    world.apply("web", web("2")).await;
    let second = alone(&world, &[&first]).await;
    let run = world.instances().await.into_iter().find(|run| run.name_any() == second).unwrap();
    world.backend.exit(&World::key(&run), ExitHow::Code(1));
    let gone = async |name: &str| world.instances().await.iter().all(|run| run.name_any() != name).then_some(());
    world
        .until("its next try to be waited for", async || world.not_ready("web").await.filter(|(_, message)| message.contains("BackOff")))
        .await;
    world.apply("web", web("1")).await;
    world.until("its end", async || gone(&second).await).await;
    world.apply("web", web("3")).await;
    let third = alone(&world, &[&first, &second]).await;
    let services = kube::Api::<mesh_api::MeshService>::default_namespaced(world.client.clone());
    services.delete("web", &kube::api::DeleteParams::default()).await.unwrap();
    world.until("its end", async || gone(&third).await).await;
    // One that is made again is another service.
    world.until("the service to be gone", async || services.get_opt("web").await.unwrap().is_none().then_some(())).await;
    world.apply("web", web("1")).await;
    alone(&world, &[&first]).await;
}

#[tokio::test]
async fn services_and_a_schedule_take_turns_at_a_task_that_forbids_two_at_once() {
    let world = World::new().await;
    let migrate = json!({ "schedule": "* * * * * *", "concurrencyPolicy": "Forbid", "template": { "command": ["migrate"] } });
    world.apply_task("migrate", migrate).await;
    for name in ["web", "api", "jobs"] {
        world.apply(name, json!({ "command": [name], "rollout": { "before": { "task": "migrate" } } })).await;
    }
    let mut seen: Vec<String> = Vec::new();
    while !all_ready(&world).await || seen.iter().all(|name| name.contains("before")) {
        let known: Vec<&str> = seen.iter().map(String::as_str).collect();
        let next = alone(&world, &known).await;
        exit(&world, &next).await;
        seen.push(next);
    }
    assert_eq!(seen.iter().filter(|name| name.contains("before")).count(), 3, "{seen:?}");
}

async fn all_ready(world: &World) -> bool {
    let ready = world.instances().await.iter().filter(|i| i.spec.run.is_none() && World::is_ready(i)).count();
    ready == 3
}

#[tokio::test]
async fn the_runs_of_a_task_that_is_deleted_end_and_go() {
    let world = World::new().await;
    world.apply_task("nightly", json!({ "template": { "command": ["report"] } })).await;
    let run = asked(&world, "nightly").await;
    told(&world, "nightly", &run, InstanceState::Running).await;
    world.delete_task("nightly").await;
    world
        .until("nothing to be left", async || (world.instances().await.is_empty() && world.backend.running().is_empty()).then_some(()))
        .await;
}

#[tokio::test]
async fn what_a_task_needs_and_is_not_there_is_told_by_its_field() {
    let world = World::new().await;
    world.apply_task("ping", json!({ "schedule": "* * * * * *", "http": { "service": "web", "path": "/ping" } })).await;
    let ready = world.until("its condition", async || world.task("ping").await.status?.conditions.into_iter().next()).await;
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ServiceNotFound"));
    assert!(ready.message.starts_with("spec.http.service: there is no MeshService \"web\""), "{}", ready.message);
    world.apply("web", json!({ "command": ["web"] })).await;
    // A fake listens on no port, so the request is refused: a try that failed, in words.
    let run = world.until("a run that has been tried", async || {
        let runs = world.task("ping").await.status?.runs;
        runs.into_iter().find(|run| run.state == InstanceState::BackOff)
    });
    let run = tokio::time::timeout(Duration::from_secs(20), run).await.unwrap();
    assert!(run.message.starts_with("web did not answer (try 1 of 7)"), "{}", run.message);
    assert!(run.last_words.is_some());
}
