//! What pods say becomes what the service says.
use serde_json::json;

use super::{controlled, get, service, set_status, told};
use crate::machine::Namespace;

/// Kubernetes' own scheduler would write into the pods' status too.
const BY_HAND: &str = "replicas: 1, port: 8080, kubernetes: {podTemplate: {spec: {schedulerName: nobody}}}";

/// Waits for the one pod that is not called `old`, which no node takes; its name.
fn unscheduled(space: &Namespace<'_>, old: &str) -> String {
    let new = |text: &str| text.split_whitespace().find(|name| *name != old).map(str::to_owned);
    let pods = space.until("a new pod", "get pods -o jsonpath={.items[*].metadata.name}", |text| new(text).is_some());
    let pod = new(&pods).unwrap();
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes available"});
    set_status(space, &format!("pod {pod}"), &json!({"conditions": [condition]}));
    pod
}

#[test]
fn what_happens_to_pods_is_in_the_status() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("pods");
    space.apply(&service("web", BY_HAND));
    let pod = unscheduled(&space, "");
    told(&space, "web", "Ready", "Unschedulable");
    let scheduled = json!({"type": "PodScheduled", "status": "True"});
    let container = |state: serde_json::Value, ready: bool| json!([{"name": "app", "image": "quay.io/you/web:1", "imageID": "", "ready": ready, "started": ready, "restartCount": 0, "state": state}]);
    let pull = json!({"waiting": {"reason": "ErrImagePull", "message": "rpc error: no such host quay.io"}});
    set_status(&space, &format!("pod {pod}"), &json!({"conditions": [scheduled], "containerStatuses": container(pull, false)}));
    let message = told(&space, "web", "Ready", "ErrImagePull");
    assert!(message.contains(&pod) && message.contains("no such host quay.io"), "{message}");
    let forbidden =
        json!({"waiting": {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"}});
    set_status(&space, &format!("pod {pod}"), &json!({"conditions": [scheduled], "containerStatuses": container(forbidden, false)}));
    let message = told(&space, "web", "Ready", "CreateContainerConfigError");
    assert!(message.contains("spec.securityContext.runAsUser"), "{message}");

    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let runs = container(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), true);
    let up = json!({"phase": "Running", "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}], "conditions": [scheduled, ready], "containerStatuses": runs});
    set_status(&space, &format!("pod {pod}"), &up);
    space.until("the pod to be ready itself", "get msvc web -o jsonpath={.status.conditions[0].message}", |text| {
        text.ends_with("its EndpointSlice does not say so yet")
    });
    // Without nodes, Kubernetes' own controller leaves the pod out.
    let uid = get(&space, &format!("pod {pod}"))["metadata"]["uid"].clone();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "by-hand", "labels": {"kubernetes.io/service-name": "web", "app.kubernetes.io/managed-by": "mesh-controller"}},
        "endpoints": [{"addresses": ["10.9.9.9"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod, "namespace": space.name, "uid": uid}}],
        "ports": [{"name": "http", "port": 8080}],
    });
    space.apply(&slice.to_string());
    assert_eq!(told(&space, "web", "Ready", "AllReplicasReady"), "1 of 1 ready");
    space.kubectl("wait --for=condition=Ready --for=condition=Available msvc/web --timeout=30s");
    let status = get(&space, "msvc web")["status"].clone();
    assert_eq!((&status["readyReplicas"], &status["updatedReplicas"], &status["ready"]), (&1.into(), &1.into(), &"1/1".into()));

    // A new revision: the old pod serves on.
    space.apply(&service("web", &format!("{BY_HAND}, env: [{{name: A, value: b}}]")));
    unscheduled(&space, &pod);
    let message = told(&space, "web", "Ready", "Unschedulable");
    assert!(message.starts_with("1 of 1 ready (0 of the new revision, 1 of an old one)"), "{message}");
    let status = get(&space, "msvc web")["status"].clone();
    assert_eq!((&status["replicas"], &status["updatedReplicas"], &status["readyReplicas"]), (&2.into(), &1.into(), &1.into()));
}

#[test]
fn a_quota_that_forbids_pods_is_told() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("quota");
    space.forbid("pods", "run nothing");
    space.apply(&service("web", "replicas: 2"));
    let message = told(&space, "web", "Ready", "ReplicaFailure");
    assert!(message.contains("exceeded quota: none") && message.contains("raise the namespace's ResourceQuota"), "{message}");
}
