//! What a service in a cluster says of itself, situation by situation; the rest of the story is that of `plan::service_status`.
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::*;
use mesh_plan::fixture::{at, service};

/// A pod of `shop/web`, made at second 100.
#[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
fn pod(name: &str, revision: &str, status: Value) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "creationTimestamp": "1970-01-01T00:01:40Z",
                "labels": {"mesh-controller.dev/service": "web", "mesh-controller.dev/revision": revision},
            },
            "status": status,
        }))
        .unwrap(),
    )
}

fn ready_pod(name: &str, revision: &str) -> Arc<Pod> {
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:01:50Z"});
    pod(name, revision, json!({"phase": "Running", "conditions": [ready]}))
}

/// A pod whose container is in this state, or with more of the container's status.
#[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
fn stuck(more: Value) -> Arc<Pod> {
    let mut container = json!({"name": "app", "image": "web:1", "imageID": "", "ready": false, "restartCount": 0});
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let list = if container["name"] == "mesh-drain" { "initContainerStatuses" } else { "containerStatuses" };
    pod("web-x", "b", json!({"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}], list: [container]}))
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}})
}

fn slice(uids: &[&str], conditions: &Value) -> Arc<EndpointSlice> {
    let endpoints: Vec<Value> = uids
        .iter()
        .map(|uid| json!({"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "uid": uid}}))
        .collect();
    Arc::new(serde_json::from_value(json!({"addressType": "IPv4", "endpoints": endpoints})).unwrap())
}

fn story(facts: &Facts<'_>) -> Vec<String> {
    let line = |c: &Condition| format!("{}={} {} {}", c.type_, c.status, c.reason, c.message).trim_end().to_owned();
    let status = status(facts).0;
    status.ready.iter().cloned().chain(status.conditions.iter().map(line)).collect()
}

fn facts<'a>(service: &'a MeshService, pods: &'a [Arc<Pod>], slices: &'a [Arc<EndpointSlice>]) -> Facts<'a> {
    Facts {
        service,
        revision: "b",
        deployment: None,
        autoscaled: false,
        pods,
        slices,
        refusal: None,
        conflict: None,
        gate: None,
        degraded: None,
        now: at(130),
    }
}

/// The line of Ready with one pod that does not come up.
fn ready_line(pod: Arc<Pod>) -> String {
    let service = service(json!({"replicas": 1}));
    story(&facts(&service, &[pod], &[])).remove(1)
}

#[test]
fn a_pod_counts_once_it_is_ready_and_its_slice_says_so() {
    let web = service(json!({"replicas": 2, "route": "/shop"}));
    let pods = [ready_pod("one", "b"), ready_pod("two", "b")];
    let both = [slice(&["one"], &json!({"ready": true})), slice(&["two"], &json!({}))];
    assert_eq!(
        story(&facts(&web, &pods, &both)),
        [
            "2/2",
            "Ready=True AllReplicasReady 2 of 2 ready",
            "Available=True MinimumReplicasAvailable 2 of at least 2 serve",
            "Progressing=True RolloutComplete",
            "RoutesAccepted=True Accepted",
        ]
    );
    let one = [slice(&["one"], &json!({"ready": true})), slice(&["two"], &json!({"ready": false, "serving": true}))];
    assert_eq!(
        story(&facts(&web, &pods, &one))[..2],
        ["1/2", "Ready=False WaitingForReplicas 1 of 2 ready: two: runs, and its EndpointSlice does not say so yet"]
    );
    let worker = service(json!({"replicas": 2, "type": "Worker"}));
    assert_eq!(story(&facts(&worker, &pods, &[]))[0], "2/2", "a worker has no slice");
}

#[test]
fn pods_that_have_ended_for_good_are_none() {
    let web = service(json!({"replicas": 1, "type": "Worker"}));
    let evicted = pod("old", "b", json!({"phase": "Failed", "reason": "Evicted"}));
    assert_eq!(story(&facts(&web, &[evicted, ready_pod("one", "b")], &[]))[..2], ["1/1", "Ready=True AllReplicasReady 1 of 1 ready"]);
}

#[test]
fn an_autoscaler_says_how_many_are_wanted() {
    let web = service(json!({"replicas": 1, "type": "Worker"}));
    let deployment: Deployment = serde_json::from_value(json!({"spec": {"replicas": 2, "selector": {}, "template": {}}})).unwrap();
    let pods = [ready_pod("one", "b"), ready_pod("two", "b")];
    let facts = Facts { deployment: Some(&deployment), autoscaled: true, ..facts(&web, &pods, &[]) };
    assert_eq!(story(&facts)[..2], ["2/2", "Ready=True AllReplicasReady 2 of 2 ready"]);
}

#[test]
fn a_pods_trouble_is_told_with_its_name_and_the_remedy() {
    let pull = "rpc error: code = NotFound desc = registry.invalid/x:1: not found";
    let last = |ended: Value| json!({"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}, "lastState": {"terminated": ended}});
    let not_root = "container has runAsNonRoot and image will run as root";
    let drain =
        json!({"name": "mesh-drain", "image": "mesh:1", "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "not here"}}});
    for (more, expected) in [
        (waiting("ErrImagePull", pull), format!("ErrImagePull 0 of 1 ready: web-x: image web:1 cannot be pulled: {pull}")),
        (
            waiting("ImagePullBackOff", &format!("Back-off pulling image \"web:1\": ErrImagePull: {pull}")),
            format!("ErrImagePull 0 of 1 ready: web-x: image web:1 cannot be pulled: {pull}"),
        ),
        (waiting("ImagePullBackOff", "Back-off pulling image \"web:1\""), "ErrImagePull 0 of 1 ready: web-x: image web:1 cannot be pulled".to_owned()),
        (waiting("InvalidImageName", "couldn't parse"), "InvalidImageName 0 of 1 ready: web-x: couldn't parse".to_owned()),
        (
            waiting("CreateContainerConfigError", not_root),
            format!(
                "CreateContainerConfigError 0 of 1 ready: web-x: {not_root}: set spec.securityContext.runAsUser to the number of a user of the image (0 is root, if it must be)"
            ),
        ),
        (waiting("RunContainerError", "no such file"), "StartFailed 0 of 1 ready: web-x: RunContainerError: no such file".to_owned()),
        (
            last(json!({"exitCode": 3, "message": "no database\n"})),
            "CrashLoopBackOff 0 of 1 ready: web-x: ended with exit code 3 (4 times): no database".to_owned(),
        ),
        (last(json!({"exitCode": 139})), "CrashLoopBackOff 0 of 1 ready: web-x: ended by signal 11 (SIGSEGV) (4 times)".to_owned()),
        (
            last(json!({"exitCode": 137, "reason": "OOMKilled"})),
            "CrashLoopBackOff 0 of 1 ready: web-x: was killed because it used more memory than spec.resources.limits.memory (OOMKilled) (4 times)".to_owned(),
        ),
        (
            json!({"state": {"running": {"startedAt": "1970-01-01T00:02:08Z"}}, "started": true}),
            "WaitingForReplicas 0 of 1 ready: web-x: runs, and its readiness probe has not passed yet".to_owned(),
        ),
        (
            json!({"state": {"running": {"startedAt": "1970-01-01T00:01:58Z"}}, "started": false}),
            "ReadinessProbeFailed 0 of 1 ready: web-x: runs, and its startup probe does not pass: kubectl describe pod says what it answers".to_owned(),
        ),
        (waiting("ContainerCreating", ""), "WaitingForReplicas 0 of 1 ready: web-x: its containers are being made".to_owned()),
        (
            drain,
            "ErrImageNeverPull 0 of 1 ready: web-x: init container mesh-drain (brings the drain hook; its image is the controller's --drain-image): not here"
                .to_owned(),
        ),
    ] {
        assert_eq!(ready_line(stuck(more)), format!("Ready=False {expected}"));
    }
}

#[test]
fn a_pod_that_no_node_takes_says_why() {
    let conditions =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}]);
    assert_eq!(
        ready_line(pod("web-x", "b", json!({"phase": "Pending", "conditions": conditions}))),
        "Ready=False Unschedulable 0 of 1 ready: web-x: 0/1 nodes: Insufficient cpu"
    );
}

#[test]
fn a_deployment_that_cannot_make_pods_or_does_not_get_on_is_told_of() {
    let web = service(json!({"replicas": 1}));
    let deployment = |observed: i64| -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"generation": 2}, "spec": {"selector": {}, "template": {}},
            "status": {"observedGeneration": observed, "conditions": [
                {"type": "ReplicaFailure", "status": "True", "message": "pods \"web-\" is forbidden: exceeded quota: none"},
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            ]},
        }))
        .unwrap()
    };
    let told = |deployment: &Deployment| story(&Facts { deployment: Some(deployment), ..facts(&web, &[], &[]) });
    let now = told(&deployment(2));
    assert_eq!(
        [&now[1], &now[3]],
        [
            "Ready=False ProgressDeadlineExceeded 0 of 1 ready: pods \"web-\" is forbidden: exceeded quota: none: raise the namespace's ResourceQuota, or ask for less",
            "Progressing=False ProgressDeadlineExceeded no progress for 120 s"
        ]
    );
    assert_eq!(told(&deployment(1))[1], "Ready=False WaitingForReplicas 0 of 1 ready", "of an older spec");
}

#[test]
fn what_is_not_as_the_spec_says_is_a_condition_only_while_it_is_so() {
    let web = service(json!({"replicas": 0}));
    let mut facts = facts(&web, &[], &[]);
    assert!(!story(&facts).iter().any(|line| line.starts_with("Degraded")));
    facts.degraded = Some(("FieldContested", "x changes y".to_owned()));
    assert_eq!(story(&facts).last().unwrap(), "Degraded=True FieldContested x changes y");
}
