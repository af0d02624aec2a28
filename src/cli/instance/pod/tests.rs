//! Pods as a cluster shows them, and what the command line makes of them.
use serde_json::{Value, json};

use super::*;

fn pod(status: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "web-7d9f-x", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {SERVICE: "web"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "sidecar"}, {"name": "app", "ports": [{"containerPort": 9}, {"name": "http", "containerPort": 8080}]}]},
    });
    pod["status"] = status.clone();
    serde_json::from_value(pod).unwrap()
}

fn app(state: &Value, last: &Value) -> Value {
    json!([{"name": "app", "image": "i", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last}])
}

fn ready(status: &str, at: &str) -> Value {
    json!([{"type": "Ready", "status": status, "lastTransitionTime": at}])
}

#[test]
fn a_pod_has_the_state_that_an_instance_of_a_vm_would_have() {
    let running = json!({"running": {"startedAt": "2026-01-01T00:01:00Z"}});
    let ended = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:59Z"}});
    let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    for (status, state, trouble) in [
        (json!({"phase": "Pending"}), "Pending", None),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]}),
            "Pending",
            Some("Unschedulable: 0/1 nodes are available"),
        ),
        (
            json!({"phase": "Pending", "containerStatuses": app(&waiting("ContainerCreating", ""), &json!({}))}),
            "Pending",
            Some("ContainerCreating: its containers are being made"),
        ),
        (
            json!({"phase": "Pending", "containerStatuses": app(&waiting("ErrImagePull", "not found"), &json!({}))}),
            "Pending",
            Some("ErrImagePull: image i cannot be pulled: not found"),
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "migrate", "image": "m:1", "imageID": "", "ready": false, "restartCount": 0, "state": waiting("ImagePullBackOff", "")}],
                   "containerStatuses": app(&waiting("PodInitializing", ""), &json!({}))}),
            "Pending",
            Some("ErrImagePull: init container migrate: image m:1 cannot be pulled"),
        ),
        (
            json!({"phase": "Running", "containerStatuses": app(&waiting("CrashLoopBackOff", "back-off 40s restarting failed container=app pod=x"), &ended)}),
            "BackOff",
            Some("CrashLoopBackOff: ended with exit code 1 (3 times); it is started again within 40s"),
        ),
        (
            json!({"phase": "Running", "conditions": ready("True", "2026-01-01T00:02:00Z"), "containerStatuses": app(&running, &json!({}))}),
            "Ready",
            None,
        ),
        (
            json!({"phase": "Running", "conditions": ready("False", "2026-01-01T00:00:00Z"), "containerStatuses": app(&running, &ended)}),
            "Starting",
            Some("CrashLoopBackOff: ended with exit code 1 (3 times), and it is not ready again yet"),
        ),
        (
            json!({"phase": "Running", "conditions": ready("False", "2026-01-01T00:05:00Z"), "containerStatuses": app(&running, &json!({}))}),
            "NotReady",
            Some("ReadinessProbeFailed: runs, and its readiness probe does not pass: kubectl describe pod says what it answers"),
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            "Failed",
            Some("Evicted: The node was low on resource: memory."),
        ),
    ] {
        let found = at(&pod(&status), "2026-01-01T00:05:30Z".parse().unwrap());
        assert_eq!((found.state.as_str(), found.trouble.as_deref()), (state, trouble), "{status}");
    }
}

#[test]
fn a_pod_that_is_deleted_drains_while_it_serves_and_terminates_after() {
    let running = json!({"running": {"startedAt": "2026-01-01T00:01:00Z"}});
    for (ready_now, state) in [("True", "Draining"), ("False", "Terminating")] {
        let mut pod = pod(
            &json!({"phase": "Running", "conditions": ready(ready_now, "2026-01-01T00:02:00Z"), "containerStatuses": app(&running, &json!({}))}),
        );
        pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:03:00Z")).unwrap();
        assert_eq!(instance(&pod).state, state);
    }
}

#[test]
fn an_end_is_told_in_words() {
    for (ended, text) in [
        (
            json!({"exitCode": 137, "reason": "OOMKilled"}),
            "was killed because it used more memory than spec.resources.limits.memory (OOMKilled)",
        ),
        (json!({"exitCode": 137, "reason": "Error"}), "ended by signal 9 (SIGKILL)"),
        (json!({"exitCode": 0, "reason": "Completed"}), "ended with exit code 0"),
        (json!({"exitCode": 128, "reason": "StartError", "message": "exec: \"x\": not found"}), "could not be started (StartError)"),
    ] {
        let found = instance(&pod(&json!({"phase": "Running", "containerStatuses": app(&json!({"terminated": ended}), &json!({}))})));
        assert_eq!((found.state.as_str(), found.last_exit.unwrap().text), ("BackOff", text.to_owned()));
    }
}

#[test]
fn the_address_is_that_of_the_services_own_container() {
    for (ip, address) in [("10.0.0.7", "10.0.0.7:8080"), ("fd00::7", "[fd00::7]:8080")] {
        assert_eq!(instance(&pod(&json!({"podIP": ip}))).address.as_deref(), Some(address));
    }
    assert_eq!(instance(&pod(&json!({}))).address, None);
}
