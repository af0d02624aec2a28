//! What a service says of itself, situation by situation: READY, the conditions and their messages tell one story.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ManagedFieldsEntry, Time};
use serde_json::{Value, json};

use super::*;
use crate::{
    endpoints::slice,
    fixture::{at, deleted, instance, ready, service, unready},
    routes,
};
use mesh_api::conditions::{instance as reason, service as condition};

/// What routers know of these instances, if they have been told of all of them.
fn told_of(instances: &[MeshInstance]) -> Announced {
    Announced::of(&instances.iter().filter_map(|instance| slice(instance, at(115))).collect::<Vec<_>>())
}

/// The status at second `now`; the current revision is `b`, and routers have been told of all instances.
fn at_second(now: i64, service: &MeshService, instances: &[MeshInstance]) -> (MeshServiceStatus, Option<SignedDuration>) {
    let announced = told_of(instances);
    status(&Facts { service, revision: "b", instances, announced: &announced, refusal: None, conflict: None, obstacle: None, now: at(now) })
}

/// READY, then each condition as `Type=Status Reason Message`.
fn story(status: &MeshServiceStatus) -> Vec<String> {
    let line = |c: &Condition| format!("{}={} {} {}", c.type_, c.status, c.reason, c.message).trim_end().to_owned();
    status.ready.iter().cloned().chain(status.conditions.iter().map(line)).collect()
}

/// READY, and the lines of Ready and Progressing.
fn summary(spec: Value, instances: &[MeshInstance]) -> [String; 3] {
    let told = story(&at_second(130, &service(spec), instances).0);
    [told[0].clone(), told[1].clone(), told[3].clone()]
}

#[test]
fn a_service_that_is_as_it_should_be_says_so_in_every_condition() {
    let instances = [ready(instance("b", 0)), ready(instance("b", 1))];
    let (status, wake) = at_second(130, &service(json!({"replicas": 2, "route": "/shop"})), &instances);
    assert_eq!(
        story(&status),
        [
            "2/2",
            "Ready=True AllReplicasReady 2 of 2 ready",
            "Available=True MinimumReplicasAvailable 2 of at least 2 serve",
            "Progressing=True RolloutComplete",
            "RoutesAccepted=True Accepted",
        ]
    );
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas, wake), (2, 2, 2, None));
    assert_eq!((status.route.as_deref(), status.observed_generation), (Some("/shop"), Some(2)));
    assert!(status.conditions.iter().all(|c| c.observed_generation == Some(2)));
}

#[test]
fn during_a_rollout_the_column_and_the_message_count_the_same_instances() {
    let (old, new) = (ready(instance("a", 0)), ready(instance("b", 0)));
    let probing = unready(instance("b", 0), reason::PROBING, "not probed yet");
    for (instances, expected) in [
        (vec![old.clone()], ["1/1", "Ready=False WaitingForReplicas 1 of 1 ready (0 of the new revision, 1 of an old one)"]),
        (
            vec![old.clone(), probing],
            ["1/1", "Ready=False RollingOut 1 of 1 ready (0 of the new revision, 1 of an old one): web-b-0: not probed yet"],
        ),
        (vec![old.clone(), new.clone()], ["2/1", "Ready=False RollingOut 2 of 1 ready (1 of the new revision, 1 of an old one)"]),
        (vec![deleted(old), new], ["1/1", "Ready=True AllReplicasReady 1 of 1 ready"]),
    ] {
        let [count, ready, _] = summary(json!({"replicas": 1}), &instances);
        assert_eq!([count, ready], expected);
    }
}

#[test]
fn an_instance_counts_once_its_slice_is_out_and_a_worker_needs_none() {
    let spec = json!({"replicas": 2});
    let instances = [ready(instance("b", 0)), ready(instance("b", 1))];
    let with = |instances: &[MeshInstance], announced: &Announced| {
        let service = service(spec.clone());
        let (told, _) = status(&Facts {
            service: &service,
            revision: "b",
            instances,
            announced,
            refusal: None,
            conflict: None,
            obstacle: None,
            now: at(130),
        });
        story(&told)
    };
    assert_eq!(
        with(&instances, &told_of(&instances[..1]))[..4],
        [
            "1/2",
            "Ready=False WaitingForReplicas 1 of 2 ready: web-b-1: runs, and its EndpointSlice does not say so yet",
            "Available=False MinimumReplicasUnavailable 1 of at least 2 serve",
            "Progressing=True RollingOut",
        ]
    );
    assert_eq!(with(&instances, &told_of(&instances))[..2], ["2/2", "Ready=True AllReplicasReady 2 of 2 ready"]);
    let workers = instances.map(|mut worker| {
        worker.spec.serves = false;
        worker
    });
    assert_eq!(with(&workers, &Announced::default())[..2], ["2/2", "Ready=True AllReplicasReady 2 of 2 ready"]);
}

#[test]
fn a_deleted_service_says_how_many_instances_it_waits_for() {
    let mut gone = service(json!({"replicas": 2}));
    gone.metadata.deletion_timestamp = Some(Time(at(120)));
    for (instances, ready) in [
        (
            vec![deleted(ready(instance("b", 0))), deleted(ready(instance("b", 1)))],
            "Ready=False Terminating waiting for 2 instances to end",
        ),
        (vec![deleted(ready(instance("b", 0)))], "Ready=False Terminating waiting for 1 instance to end"),
    ] {
        let (status, wake) = at_second(130, &gone, &instances);
        let told = story(&status);
        assert_eq!([&told[0], &told[1], &told[3]], ["0/2", ready, "Progressing=False Terminating"]);
        assert_eq!(wake, None);
    }
}

#[test]
fn the_gravest_trouble_of_an_instance_becomes_the_reason() {
    let back_off = unready(instance("b", 0), reason::BACK_OFF, "exit code 1");
    let no_program = unready(instance("b", 1), reason::COMMAND_NOT_FOUND, "web: no such program");
    let listening = unready(instance("b", 0), reason::NOT_LISTENING, "nothing listens");
    for (instances, expected) in [
        (vec![back_off.clone()], "Ready=False CrashLoopBackOff 0 of 2 ready: web-b-0: exit code 1"),
        (vec![back_off, no_program], "Ready=False CommandNotFound 0 of 2 ready: web-b-1: web: no such program"),
        (vec![listening, ready(instance("b", 1))], "Ready=False WaitingForReplicas 1 of 2 ready: web-b-0: nothing listens"),
        (vec![], "Ready=False WaitingForReplicas 0 of 2 ready"),
    ] {
        assert_eq!(summary(json!({"replicas": 2}), &instances)[1], expected);
    }
}

#[test]
fn a_service_without_replicas_is_ready_when_the_last_instance_has_ended() {
    let spec = || json!({"replicas": 0});
    assert_eq!(summary(spec(), &[])[..2], ["0/0", "Ready=True ScaledToZero"]);
    let going = [deleted(ready(instance("b", 0)))];
    assert_eq!(summary(spec(), &going)[..2], ["0/0", "Ready=False ScaledToZero waiting for 1 instance to end"]);
}

#[test]
fn a_rollout_without_progress_is_said_to_be_stuck_and_asks_to_be_looked_at_in_time() {
    let spec = json!({"replicas": 1, "rollout": {"progressDeadlineSeconds": 60}});
    let stuck = [ready(instance("a", 0)), unready(instance("b", 0), reason::PROBE_FAILED, "HTTP status 500")];
    let (status, wake) = at_second(130, &service(spec.clone()), &stuck);
    assert_eq!((story(&status)[3].as_str(), wake), ("Progressing=True RollingOut", Some(SignedDuration::from_secs(30))));
    let (status, wake) = at_second(160, &service(spec), &stuck);
    let told = story(&status);
    assert_eq!(
        told[1],
        "Ready=False ProgressDeadlineExceeded 1 of 1 ready (0 of the new revision, 1 of an old one): web-b-0: HTTP status 500"
    );
    assert_eq!(told[2], "Available=True MinimumReplicasAvailable 1 of at least 1 serve");
    assert_eq!((told[3].as_str(), wake), ("Progressing=False ProgressDeadlineExceeded no progress for 60 s", None));
}

#[test]
fn the_progress_deadline_begins_with_the_change_of_the_service() {
    let mut service = service(json!({"replicas": 2, "rollout": {"progressDeadlineSeconds": 60}}));
    let old = [ready(instance("b", 0))];
    let wrote = |second: i64, subresource: Option<&str>| ManagedFieldsEntry {
        time: Some(Time(at(second))),
        subresource: subresource.map(ToOwned::to_owned),
        ..ManagedFieldsEntry::default()
    };
    service.metadata.managed_fields = Some(vec![wrote(100, None), wrote(990, Some("scale")), wrote(999, Some("status"))]);
    let (status, wake) = at_second(1000, &service, &old);
    assert_eq!((story(&status)[3].as_str(), wake), ("Progressing=True RollingOut", Some(SignedDuration::from_secs(50))));
    let (status, _) = at_second(1050, &service, &old);
    assert_eq!(story(&status)[3], "Progressing=False ProgressDeadlineExceeded no progress for 60 s");
}

#[test]
fn an_instance_that_fails_after_the_rollout_does_not_begin_it_anew() {
    let mut service = service(json!({"replicas": 1}));
    service.status = Some(at_second(130, &service, &[ready(instance("b", 0))]).0);
    let failing = [unready(instance("b", 0), reason::PROBE_FAILED, "HTTP status 500")];
    let (status, wake) = at_second(1000, &service, &failing);
    assert_eq!(
        story(&status)[1..4],
        [
            "Ready=False ReadinessProbeFailed 0 of 1 ready: web-b-0: HTTP status 500",
            "Available=False MinimumReplicasUnavailable 0 of at least 1 serve",
            "Progressing=True RolloutComplete",
        ]
    );
    assert_eq!(wake, None);
}

#[test]
fn a_refusal_and_a_conflict_of_routes_name_their_cause() {
    let web = service(json!({"route": "/shop"}));
    let instances = [ready(instance("b", 0))];
    let refusal = Refusal { reason: condition::INVALID_SPEC, message: "spec.x: wrong".to_owned() };
    let announced = told_of(&instances);
    let facts = Facts {
        service: &web,
        revision: "b",
        instances: &instances,
        announced: &announced,
        refusal: None,
        conflict: None,
        obstacle: None,
        now: at(130),
    };
    let (told, _) = status(&Facts { refusal: Some(&refusal), ..facts.clone() });
    assert_eq!(
        [&story(&told)[1], &story(&told)[3]],
        ["Ready=False InvalidSpec spec.x: wrong", "Progressing=False InvalidSpec spec.x: wrong"]
    );
    let claim = routes::claims(&web.spec).remove(0);
    let (told, _) = status(&Facts { conflict: Some((claim, "shop/old".to_owned())), ..facts });
    let conflict = "RouteConflict route /shop belongs to the older service shop/old, which gets its requests: choose another route, or delete that service";
    let told = story(&told);
    assert_eq!([&told[1], &told[4]], [&format!("Ready=False {conflict}"), &format!("RoutesAccepted=False {conflict}")]);
}

#[test]
fn a_condition_keeps_its_time_until_its_status_flips_and_an_unchanged_status_is_equal() {
    let mut service = service(json!({}));
    let serving = [ready(instance("b", 0))];
    let first = at_second(130, &service, &serving).0;
    service.status = Some(first.clone());
    assert_eq!(at_second(500, &service, &serving).0, first);
    let failing = [unready(instance("b", 0), reason::PROBE_FAILED, "")];
    let times = at_second(600, &service, &failing).0.conditions.iter().map(|c| c.last_transition_time.0).collect::<Vec<_>>();
    assert_eq!(times, [at(600), at(600), at(130), at(130)]);
}

#[test]
fn availability_allows_for_what_may_be_missing() {
    let spec = json!({"replicas": 4, "rollout": {"maxUnavailable": "50%"}});
    let instances = [ready(instance("b", 0)), ready(instance("b", 1))];
    assert_eq!(story(&at_second(130, &service(spec), &instances).0)[2], "Available=True MinimumReplicasAvailable 2 of at least 2 serve");
}
