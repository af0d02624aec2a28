//! The controllers over the embedded API and the fake backend: what they make, change and end. No process is started.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside the functions that clippy knows as tests"
)]
mod election;
mod tasks;
mod world;

use k8s_openapi::{
    api::{
        apps::v1::ControllerRevision,
        core::v1::{Namespace, Secret},
        discovery::v1::EndpointSlice,
        events::v1::Event,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use mesh_api::{MeshInstance, MeshNode, MeshRouter, conditions::is_true};
use mesh_plan::instance::{Action, ExitHow, PortOwner};
use serde_json::json;

use self::world::World;

#[tokio::test]
async fn a_service_becomes_ready_instances_with_addresses_and_endpoints() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"], "replicas": 3, "route": "/" })).await;
    let service = world.ready("web").await;
    let status = service.status.unwrap();
    assert_eq!((status.ready.as_deref(), status.replicas, status.updated_replicas), (Some("3/3"), 3, 3));
    assert_eq!(world.backend.running().len(), 3);
    let slices: Api<EndpointSlice> = Api::default_namespaced(world.client.clone());
    let ready = world.until("three ready endpoints", async || {
        let slices = slices.list(&ListParams::default().labels("kubernetes.io/service-name=web")).await.unwrap().items;
        let ready = slices.iter().filter(|slice| {
            slice.endpoints.iter().flatten().all(|endpoint| endpoint.conditions.as_ref().is_some_and(|c| c.ready == Some(true)))
        });
        (ready.count() == 3).then_some(slices)
    });
    let ports: std::collections::BTreeSet<_> = ready.await.iter().filter_map(|slice| slice.ports.as_ref()?.first()?.port).collect();
    assert_eq!(ports.len(), 3, "each has a port of its own");
}

#[tokio::test]
async fn a_changed_spec_replaces_the_instances_without_ever_being_short_of_one() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"], "replicas": 2 })).await;
    let old = world.ready("web").await.status.unwrap().current_revision.unwrap();
    world.apply("web", json!({ "command": ["web", "--new"], "replicas": 2 })).await;
    let new = world.until("another revision in full", async || {
        let serving = world.instances().await.iter().filter(|i| i.metadata.deletion_timestamp.is_none() && World::is_ready(i)).count();
        assert!(serving >= 2, "only {serving} serve");
        let status = world.service("web").await?.status?;
        (status.current_revision.as_ref() != Some(&old) && is_true(&status.conditions, "Ready")).then_some(status)
    });
    let new = new.await.current_revision.unwrap();
    world.until("the old ones to be gone", async || world.instances().await.iter().all(|i| i.spec.revision == new).then_some(())).await;
    let revisions: Api<ControllerRevision> = Api::default_namespaced(world.client.clone());
    assert_eq!(revisions.list(&ListParams::default()).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn exactly_as_many_old_revisions_are_kept_as_the_spec_says() {
    let world = World::new().await;
    let revisions: Api<ControllerRevision> = Api::default_namespaced(world.client.clone());
    let numbers = async || {
        let mut numbers: Vec<_> = revisions.list(&ListParams::default()).await.unwrap().items.iter().filter_map(|it| it.revision).collect();
        numbers.sort_unstable();
        numbers
    };
    for version in 1..=5 {
        world.apply("web", json!({ "command": ["web", version.to_string()], "rollout": { "revisionHistoryLimit": 2 } })).await;
        world.ready("web").await;
    }
    world.until("two old ones and the current one", async || (numbers().await == [3, 4, 5]).then_some(())).await;
    world.apply("web", json!({ "command": ["web", "4"], "rollout": { "revisionHistoryLimit": 2 } })).await;
    world.ready("web").await;
    world.until("the one that was gone back to as the newest", async || (numbers().await == [3, 5, 6]).then_some(())).await;
    world.apply("web", json!({ "command": ["web", "4"], "rollout": { "revisionHistoryLimit": 0 } })).await;
    world.until("the current one alone", async || (numbers().await == [6]).then_some(())).await;
}

#[tokio::test]
async fn a_worker_that_ends_at_once_never_takes_the_place_of_one_that_works() {
    let world = World::new().await;
    let spec = |command: &str| json!({ "type": "Worker", "command": [command], "rollout": { "progressDeadlineSeconds": 3 } });
    world.apply("queue", spec("good")).await;
    let old = world.ready("queue").await.status.unwrap().current_revision.unwrap();
    world.apply("queue", spec("bad")).await;
    let exceeded = async || {
        let instances = world.instances().await;
        let alive = |i: &&MeshInstance| i.spec.revision == old && i.metadata.deletion_timestamp.is_none() && World::is_ready(i);
        assert_eq!(instances.iter().filter(alive).count(), 1, "the one that works was taken away");
        for new in instances.iter().filter(|i| i.spec.revision != old) {
            assert!(!World::is_ready(new), "one that ends at once was called ready");
            if new.status.as_ref().is_some_and(|status| status.pid.is_some()) {
                world.backend.exit(&World::key(new), ExitHow::Code(1));
            }
        }
        let conditions = world.service("queue").await?.status?.conditions;
        conditions.into_iter().find(|c| c.type_ == "Progressing" && c.reason == "ProgressDeadlineExceeded")
    };
    world.until("the rollout to be given up", exceeded).await;
    assert_eq!(world.service("queue").await.unwrap().status.unwrap().ready.as_deref(), Some("1/1"));
}

#[tokio::test]
async fn what_the_controllers_rely_on_is_made_again_when_somebody_removes_it() {
    let world = World::new().await;
    let params = DeleteParams::default();
    let (nodes, routers): (Api<MeshNode>, Api<MeshRouter>) =
        (Api::all(world.client.clone()), Api::namespaced(world.client.clone(), "mesh-system"));
    let (keys, definitions): (Api<Secret>, Api<CustomResourceDefinition>) =
        (Api::namespaced(world.client.clone(), "mesh-system"), Api::all(world.client.clone()));
    nodes.delete("here", &params).await.unwrap();
    routers.delete("default", &params).await.unwrap();
    keys.delete("mesh-router-cookie-keys", &params).await.unwrap();
    definitions.delete("meshrouters.mesh-controller.dev", &params).await.unwrap();
    // It may be refused; where it is not, the namespace is made again.
    let _ = Api::<Namespace>::all(world.client.clone()).delete("mesh-system", &params).await;
    let all_there = async || {
        let namespace = Api::<Namespace>::all(world.client.clone()).get_opt("mesh-system").await.ok()??;
        let node = nodes.get_opt("here").await.ok()??;
        let there = routers.get_opt("default").await.ok()?.is_some() && keys.get_opt("mesh-router-cookie-keys").await.ok()?.is_some();
        (there && namespace.metadata.deletion_timestamp.is_none() && is_true(&node.status?.conditions, "Ready")).then_some(())
    };
    world.until("all of it", all_there).await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
}

#[tokio::test]
async fn every_end_of_a_program_is_told_in_its_own_words() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    let events: Api<Event> = Api::default_namespaced(world.client.clone());
    for code in [3, 4] {
        world.ready("web").await;
        let instance = world.instances().await.remove(0);
        world.backend.exit(&World::key(&instance), ExitHow::Code(code));
        let told = async || {
            let events = events.list(&ListParams::default()).await.unwrap().items;
            events.into_iter().filter_map(|event| event.note).find(|note| *note == format!("the program ended with exit code {code}"))
        };
        world.until("an event with the code", told).await;
    }
}

#[tokio::test]
async fn a_service_is_ready_and_an_old_instance_ends_only_once_the_routers_can_know_of_the_new_one() {
    let mut world = World::new().await;
    world.stop_endpoints().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    let untold = async |world: &World| {
        let told = async || world.not_ready("web").await.filter(|(_, message)| message.contains("its EndpointSlice does not say so yet"));
        world.until("an instance whose slice is missing", told).await
    };
    let (reason, message) = untold(&world).await;
    assert_eq!((reason.as_str(), message.starts_with("0 of 1 ready: web-")), ("WaitingForReplicas", true), "{message}");
    world.start_endpoints();
    let old = world.ready("web").await.status.unwrap().current_revision.unwrap();

    world.stop_endpoints().await;
    world.apply("web", json!({ "command": ["web", "--new"] })).await;
    untold(&world).await;
    let living = world.instances().await;
    let alive = living.iter().any(|i| i.spec.revision == old && i.metadata.deletion_timestamp.is_none());
    assert!(alive && living.len() == 2, "the old one went before the new one could get requests");
    world.start_endpoints();
    world.ready("web").await;
    world.until("the old one to be gone", async || world.instances().await.iter().all(|i| i.spec.revision != old).then_some(())).await;
}

#[tokio::test]
async fn a_node_that_is_not_ready_matters_only_to_what_must_be_made() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"], "replicas": 2 })).await;
    world.ready("web").await;
    let running = sorted(world.backend.running());
    world.schedulable(false).await;
    // Changed in place: the new generation is observed after the node's change.
    world.apply("web", json!({ "command": ["web"], "replicas": 2, "route": "/" })).await;
    world.ready("web").await;
    for change in [json!({ "command": ["web"], "replicas": 3 }), json!({ "command": ["web", "--new"], "rollout": { "type": "Recreate" } })]
    {
        world.apply("web", change).await;
        let refused = async || world.not_ready("web").await.filter(|(reason, _)| reason == "NoNodeReady");
        world.until("a refusal", refused).await;
        assert_eq!(sorted(world.backend.running()), running, "what runs, runs on");
        world.apply("web", json!({ "command": ["web"], "replicas": 2 })).await;
        world.ready("web").await;
    }
    world.apply("web", json!({ "command": ["web"], "replicas": 1 })).await;
    assert_eq!(world.ready("web").await.status.unwrap().ready.as_deref(), Some("1/1"), "to end one takes no node");
    world.apply("web", json!({ "command": ["web"], "replicas": 3 })).await;
    world.until("a refusal", async || world.not_ready("web").await.filter(|(reason, _)| reason == "NoNodeReady")).await;
    world.schedulable(true).await;
    world.ready("web").await;
}

#[tokio::test]
async fn an_instance_that_ends_is_started_again_under_the_same_name() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
    let before = world.instances().await.remove(0);
    world.backend.exit(&World::key(&before), ExitHow::Signal(9));
    let after = world.until("a restart", async || {
        let instance = world.instances().await.pop()?;
        (World::is_ready(&instance) && instance.status.as_ref()?.restart_count == 1).then_some(instance)
    });
    let after = after.await;
    assert_eq!((after.uid(), after.status.unwrap().last_exit.unwrap().signal), (before.uid(), Some(9)));
}

#[tokio::test]
async fn a_deleted_service_is_gone_only_after_its_instances() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"], "replicas": 2 })).await;
    world.ready("web").await;
    world.delete("web").await;
    world.until("the service to be gone", async || world.service("web").await.is_none().then_some(())).await;
    assert_eq!(world.instances().await, []);
    assert_eq!(world.backend.running(), Vec::<String>::new());
}

#[tokio::test]
async fn an_instance_that_somebody_deletes_is_replaced() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
    let first = world.instances().await.remove(0);
    let instances: Api<MeshInstance> = Api::default_namespaced(world.client.clone());
    instances.delete(&first.name_any(), &DeleteParams::default()).await.unwrap();
    world
        .until("a successor", async || {
            let all = world.instances().await;
            (all.len() == 1 && all[0].uid() != first.uid() && World::is_ready(&all[0])).then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_instance_whose_finalizer_is_taken_away_by_hand_is_ended_all_the_same() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
    let first = world.instances().await.remove(0);
    let instances: Api<MeshInstance> = Api::default_namespaced(world.client.clone());
    world.backend.on_stop(mesh_backend::fake::OnStop::Wait);
    let patch = json!({ "metadata": { "finalizers": null } });
    instances.patch_metadata(&first.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    instances.delete(&first.name_any(), &DeleteParams::default()).await.unwrap();
    let told = async || {
        let actions = world.backend.actions();
        actions.iter().any(|action| matches!(action, Action::Stop { key, .. } if *key == World::key(&first))).then_some(())
    };
    world.until("the program to be told to end", told).await;
    world.backend.exit(&World::key(&first), ExitHow::Signal(15));
    let removed = async || world.backend.actions().contains(&Action::Remove(World::key(&first))).then_some(());
    world.until("what is left of it to be removed", removed).await;
    // The service may still be told ready by the one that is gone.
    world.until("its successor to run", async || (world.backend.running().len() == 1).then_some(())).await;
    world.ready("web").await;
}

#[tokio::test]
async fn what_runs_is_kept_by_a_store_that_is_new_and_replaced_when_its_service_is_applied_again() {
    let before = World::new().await;
    for name in ["web", "queue"] {
        before.apply(name, json!({ "command": [name], "type": "Worker" })).await;
        before.ready(name).await;
    }
    let old = before.instances().await;
    let world = World::over(before.end().await, false).await;
    world.apply("other", json!({ "command": ["other"] })).await;
    world.ready("other").await;
    assert_eq!(world.backend.running().len(), 3, "both run on: {:?}", world.backend.running());
    let told = async || {
        let node = Api::<MeshNode>::all(world.client.clone()).get("here").await.ok()?;
        let conditions = node.status?.conditions;
        conditions.into_iter().find(|c| c.type_ == "UnknownInstances" && c.status == "True").map(|c| c.message)
    };
    let both = world.until("the node to tell of them", told).await;
    assert!(both.contains("default/queue-") && both.contains("default/web-"), "{both}");
    // Another revision than the one that runs.
    world.apply("web", json!({ "command": ["web", "--new"], "type": "Worker" })).await;
    world.ready("web").await;
    let runs = |instance: &MeshInstance| world.backend.running().contains(&instance.name_any());
    let (web, queue): (Vec<_>, Vec<_>) = old.iter().partition(|instance| instance.spec.service == "web");
    world.until("the old one to end", async || web.iter().all(|instance| !runs(instance)).then_some(())).await;
    assert!(queue.iter().all(|instance| runs(instance)), "one that nobody has applied runs on");
    world.until("the node to tell of that one only", async || told().await.filter(|text| !text.contains("default/web-"))).await;
}

#[tokio::test]
async fn what_the_store_that_started_it_does_not_know_is_ended_at_the_start() {
    let before = World::new().await;
    before.apply("web", json!({ "command": ["web"] })).await;
    before.ready("web").await;
    let world = World::over(before.end().await, true).await;
    world.until("its end", async || world.backend.running().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named_in_the_conditions() {
    let world = World::new().await;
    world.backend.fail_start("web-", "web: no such program in PATH /bin");
    world.apply("web", json!({ "command": ["web"] })).await;
    let message = world.until("a condition that says so", async || {
        let status = world.service("web").await?.status?;
        status.conditions.into_iter().find(|c| c.type_ == "Ready" && c.message.contains("no such program")).map(|c| c.message)
    });
    assert!(message.await.contains("web-"), "the instance is named");
}

#[tokio::test]
async fn a_port_that_somebody_else_listens_on_gets_no_traffic() {
    let world = World::new().await;
    world.backend.listen_late();
    world.apply("web", json!({ "command": ["web"] })).await;
    let instance = world
        .until("a started instance", async || world.instances().await.pop().filter(|i| i.status.as_ref().is_some_and(|s| s.pid.is_some())))
        .await;
    world.backend.own_port(&World::key(&instance), PortOwner::Foreign("pid 1 (thief)".into()));
    world
        .until("the condition", async || {
            let status = world.instances().await.pop()?.status?;
            status.conditions.iter().any(|c| c.reason == "PortTaken" && c.message.contains("thief")).then_some(())
        })
        .await;
    world.backend.own_port(&World::key(&instance), PortOwner::Ours);
    world.ready("web").await;
}

#[tokio::test]
async fn an_instance_whose_port_another_program_takes_over_is_not_ready_until_it_has_it_again() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
    let key = World::key(&world.instances().await[0]);
    let reason = async || {
        let ready = world.instances().await.pop()?.status?.conditions.into_iter().find(|c| c.type_ == "Ready")?;
        Some((ready.status, ready.reason))
    };
    for (owner, wanted) in [(PortOwner::Nobody, "NotListening"), (PortOwner::Foreign("pid 1 (thief)".into()), "PortTaken")] {
        world.backend.own_port(&key, owner);
        world.until(wanted, async || (reason().await? == ("False".to_owned(), wanted.to_owned())).then_some(())).await;
    }
    world.backend.own_port(&key, PortOwner::Ours);
    world.ready("web").await;
}

#[tokio::test]
async fn the_younger_of_two_services_with_one_route_is_told_whose_it_is() {
    let world = World::new().await;
    world.apply("first", json!({ "command": ["web"], "route": "/api" })).await;
    world.ready("first").await;
    // Ages are whole seconds; the name decides between two of the same second.
    world.apply("second", json!({ "command": ["web"], "routes": [{ "path": "/api/" }] })).await;
    let conflict = |name: &'static str| {
        let world = &world;
        async move {
            let status = world.service(name).await?.status?;
            status.conditions.into_iter().find(|c| c.type_ == "RoutesAccepted" && c.status == "False")
        }
    };
    let condition = world.until("the conflict", async || conflict("second").await).await;
    assert!(condition.message.contains("default/first") && condition.message.contains("/api"), "{}", condition.message);
    assert!(conflict("first").await.is_none());
    world.delete("first").await;
    world.ready("second").await;
}

#[tokio::test]
async fn scaling_to_zero_is_ready_and_back_again() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"], "replicas": 2 })).await;
    world.ready("web").await;
    world.apply("web", json!({ "command": ["web"], "replicas": 0 })).await;
    world.until("none", async || world.instances().await.is_empty().then_some(())).await;
    let status = world.ready("web").await.status.unwrap();
    assert_eq!(status.ready.as_deref(), Some("0/0"));
    world.apply("web", json!({ "command": ["web"], "replicas": 1 })).await;
    world.until("one", async || (world.service("web").await?.status?.ready? == "1/1").then_some(())).await;
}

#[tokio::test]
async fn a_program_that_ends_again_and_again_is_a_warning() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    let events: Api<Event> = Api::default_namespaced(world.client.clone());
    // The line in the log has the same level: one flag of the note decides both.
    for reason in ["Ended", "BackOff"] {
        let told = async || {
            let running = world.instances().await.into_iter().find(|instance| world.backend.running().contains(&instance.name_any()));
            if let Some(instance) = running {
                world.backend.exit(&World::key(&instance), ExitHow::Code(3));
            }
            let all = events.list(&ListParams::default()).await.unwrap().items;
            all.into_iter().find(|event| event.reason.as_deref() == Some(reason)).and_then(|event| event.type_)
        };
        assert_eq!(world.until(reason, told).await, "Warning");
    }
}

#[tokio::test]
async fn what_happens_is_told_as_events() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
    let events: Api<Event> = Api::default_namespaced(world.client.clone());
    world
        .until("events", async || {
            let reasons: Vec<_> = events.list(&ListParams::default()).await.unwrap().items.into_iter().filter_map(|e| e.reason).collect();
            ["InstancesCreated", "Started", "Ready"].iter().all(|wanted| reasons.iter().any(|r| r == wanted)).then_some(())
        })
        .await;
}

#[tokio::test]
async fn instances_left_by_an_orphaning_deletion_run_on_and_belong_to_the_next_service_of_the_name() {
    let world = World::new().await;
    let spec = json!({ "command": ["web"], "replicas": 2 });
    world.apply("web", spec.clone()).await;
    world.ready("web").await;
    let before = sorted(world.backend.running());
    let services: Api<mesh_api::MeshService> = Api::default_namespaced(world.client.clone());
    services.delete("web", &DeleteParams::orphan()).await.unwrap();
    world.until("the service to be gone", async || world.service("web").await.is_none().then_some(())).await;
    assert!(world.instances().await.iter().all(|i| i.owner_references().is_empty() && i.metadata.deletion_timestamp.is_none()));
    world.apply("web", spec).await;
    let uid = world.ready("web").await.uid().unwrap();
    let owned = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| owners.iter().any(|owner| owner.uid == uid);
    let revisions: Api<ControllerRevision> = Api::default_namespaced(world.client.clone());
    world
        .until("everything to be owned again", async || {
            let revisions = revisions.list(&ListParams::default()).await.unwrap().items;
            let instances = world.instances().await;
            (instances.iter().all(|i| owned(i.owner_references())) && revisions.iter().all(|r| owned(r.owner_references()))).then_some(())
        })
        .await;
    assert_eq!(sorted(world.backend.running()), before);
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_told_by_the_node_and_by_what_cannot_be_made_without_it() {
    let world = World::new().await;
    world.apply("web", json!({ "command": ["web"] })).await;
    world.ready("web").await;
    world.backend.set_health(Err("Podman at /x does not answer: systemctl start podman.socket".to_owned()));
    world.apply("late", json!({ "command": ["late"] })).await;
    let refused = async || world.not_ready("late").await.filter(|(reason, _)| reason == "NoNodeReady");
    let (_, message) = world.until("a refusal", refused).await;
    assert!(message.contains("here: Podman at /x does not answer: systemctl start podman.socket"), "{message}");
    world.ready("web").await;
    world.backend.set_health(Ok(()));
    world.ready("late").await;
}
