//! The table and the JSON of `mesh ps`, from objects.
use serde_json::json;

use super::*;
use crate::instance::mesh;
use mesh_api::MeshInstance;

fn service(name: &str, reason: &str, ready: &str) -> MeshService {
    serde_json::from_value(json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"command": ["x"]},
        "status": {"conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    }))
    .unwrap()
}

fn instance(name: &str, service: &str, status: &serde_json::Value) -> MeshInstance {
    serde_json::from_value(json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshInstance",
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {
            "service": service, "revision": "1f", "ordinal": 0, "nodeName": "n", "serves": true, "drainTimeout": "30s",
            "logs": {}, "template": {"command": ["x"], "terminationGracePeriodSeconds": 30},
        },
        "status": status,
    }))
    .unwrap()
}

fn fixture() -> Vec<Row> {
    let condition = |status: &str, reason: &str, message: &str| json!([{"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let exit = json!({"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z", "message": "ended with exit code 1"});
    let instances = [
        instance(
            "web-2a-0",
            "web",
            &json!({"state": "BackOff", "restartCount": 4, "lastExit": exit, "conditions": condition("False", "CrashLoopBackOff", "exit code 1; next start in 4s")}),
        ),
        instance(
            "api-1f-1",
            "api",
            &json!({"state": "Ready", "address": "127.0.0.1:20001", "pid": 4243, "restartCount": 1, "lastExit": exit, "conditions": condition("True", "Running", "")}),
        ),
        instance(
            "api-1f-0",
            "api",
            &json!({"state": "Ready", "address": "127.0.0.1:20000", "pid": 4242, "conditions": condition("True", "Running", "")}),
        ),
        instance("new-3b-0", "new", &json!(null)),
    ];
    let instances = instances.each_ref().map(mesh::instance);
    rows(
        &[service("api", "AllReplicasReady", "True"), service("off", "ScaledToZero", "True"), service("web", "CrashLoopBackOff", "False")],
        &instances,
    )
}

#[test]
fn the_table_shows_instances_by_service_and_services_that_have_none() {
    let now = "2026-01-01T00:03:10Z".parse().unwrap();
    mesh_gear::golden::check("tests/golden/cli/ps.txt", &render(&fixture(), false, now));
    mesh_gear::golden::check("tests/golden/cli/ps-all-namespaces.txt", &render(&fixture(), true, now));
}

#[test]
fn the_json_is_what_scripts_rely_on() {
    mesh_gear::golden::check("tests/golden/cli/ps.json", &(serde_json::to_string_pretty(&fixture()).unwrap() + "\n"));
}

#[test]
fn a_route_that_is_anothers_is_told_though_the_instances_are_well() {
    let conflict = json!({"type": "RoutesAccepted", "status": "False", "reason": "RouteConflict", "message": "/api is api's", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut taken = service("web", "AllReplicasReady", "True");
    taken.status.as_mut().unwrap().conditions.push(serde_json::from_value(conflict).unwrap());
    let ready = json!({"state": "Ready", "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let with = rows(std::slice::from_ref(&taken), &[mesh::instance(&instance("web-2a-0", "web", &ready))]);
    let without = rows(&[taken], &[]);
    let problem = Some("RouteConflict: /api is api's".to_owned());
    assert_eq!((&with[0].problem, &without[0].problem), (&problem, &problem));
}

#[test]
fn a_rollout_that_a_task_holds_up_is_told_though_all_that_runs_is_well() {
    let ready =
        json!([{"type": "Ready", "status": "True", "reason": "Running", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let of_web = instance("web-1f-0", "web", &json!({"state": "Ready", "conditions": ready}));
    for reason in ["TaskFailed", "WaitingForTask"] {
        let told = rows(&[service("web", reason, "False")], &[mesh::instance(&of_web)]);
        assert_eq!((told.len(), told[0].problem.as_deref()), (1, Some(reason)));
    }
}
