//! What goes wrong in a cluster, and how the service says it: a condition that names the thing, no crash, no busy loop.
use std::{process::Command, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::machine::{Cluster, Namespace};
use mesh_gear::machine::api;

fn ready_condition(space: &Namespace<'_>, name: &str) -> (String, String) {
    let service: Value = serde_json::from_str(&space.kubectl(&format!("get msvc {name} -o json"))).unwrap();
    let all = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = all.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
    (ready["reason"].as_str().unwrap_or_default().to_owned(), ready["message"].as_str().unwrap_or_default().to_owned())
}

fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: {name}}}\nspec: {{image: \"{image}\", {more}}}\n"
    )
}

/// Waits for a reason of the condition Ready, and gives its message.
fn told(space: &Namespace<'_>, name: &str, reasons: &[&str]) -> String {
    let words = format!("get msvc {name} -o jsonpath={{.status.conditions[?(@.type==\"Ready\")].reason}}");
    space.until(&format!("{name}: {reasons:?}"), &words, |text| reasons.contains(&text));
    ready_condition(space, name).1
}

#[test]
fn what_stands_in_the_way_of_a_pod_is_a_condition_of_its_service() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("wrong");
    let sh = |script: &str| format!("imagePullPolicy: Never, securityContext: {{runAsUser: 1000}}, command: [/bin/sh, -c, {script:?}]");
    let busybox = "localhost/busybox:test";
    space.apply(
        &[
            service("missing", "registry.invalid/nothing:1", "replicas: 1"),
            service("never", "localhost/nothing:1", "imagePullPolicy: Never"),
            service("crash", busybox, &sh("echo no database; exit 3")),
            service("root", busybox, "imagePullPolicy: Never, command: [/bin/sleep, '1000']"),
            service(
                "config",
                busybox,
                &format!("{}, env: [{{name: A, valueFrom: {{secretKeyRef: {{name: nowhere, key: a}}}}}}]", sh("sleep 1000")),
            ),
            service("large", busybox, &format!("{}, resources: {{requests: {{cpu: '1000'}}}}", sh("sleep 1000"))),
            service("silent", busybox, &sh("sleep 1000")),
        ]
        .join("---\n"),
    );
    for (name, reasons, words) in [
        ("missing", &["ErrImagePull", "ImagePullBackOff"][..], &["registry.invalid/nothing:1"][..]),
        ("never", &["ErrImageNeverPull"], &["localhost/nothing:1"]),
        ("crash", &["CrashLoopBackOff"], &["exit code 3"]),
        ("root", &["CreateContainerConfigError"], &["runAsUser"]),
        ("config", &["CreateContainerConfigError"], &["nowhere"]),
        ("large", &["Unschedulable"], &["cpu"]),
        ("silent", &["ReadinessProbeFailed", "NotListening", "WaitingForProbe"], &[]),
    ] {
        let message = told(&space, name, reasons);
        assert!(words.iter().all(|word| message.contains(word)), "{name}: {message}");
    }
    let resources = space.kubectl("get msvc -o wide");
    assert!(resources.contains("CrashLoopBackOff"), "{resources}");
}

#[test]
fn a_quota_that_forbids_pods_and_a_namespace_that_goes_are_told_and_make_no_loop() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("quota");
    space.forbid("pods", "run nothing");
    space.apply(&service("web", "localhost/busybox:test", "replicas: 2"));
    let message = told(&space, "web", &["ReplicaFailure", "FailedCreate"]);
    assert!(message.contains("exceeded quota"), "{message}");

    let before = Timestamp::now();
    cluster.kubectl(&["delete", "namespace", &space.name, "--timeout=60s"], "");
    std::thread::sleep(Duration::from_secs(5));
    let writes =
        cluster.asked("mesh-system:mesh-controller", before).into_iter().filter(|asked| asked.writes() && asked.name == "web").count();
    assert!(writes <= 12, "{writes} writes about a service that goes with its namespace");
}

#[test]
fn a_cluster_that_is_too_old_ends_the_controller_with_what_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = api(dir.path(), |_| ("200 OK", r#"{"major":"1","minor":"30","gitVersion":"v1.30.9"}"#.to_owned()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-controller"));
    let output = command.args(["--backend", "kubernetes", "--admin-listen", "127.0.0.1:0", "--kubeconfig", &kubeconfig]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("this cluster is Kubernetes 1.30; mesh-controller needs 1.31 or newer: upgrade the cluster"), "{said}");
}
