//! Tasks in a cluster: a CronJob keeps the schedule, Jobs are the runs, and the MeshTask tells what came of them.
use serde_json::Value;

use super::{
    cli::Terminal,
    machine::{Cluster, Namespace},
};
use mesh_gear::session::mesh;

const SPEC: &str = "image: localhost/busybox:test, imagePullPolicy: Never, securityContext: {runAsUser: 1000}";

fn task(name: &str, more: &str, script: &str) -> String {
    let template = format!("template: {{{SPEC}, command: [/bin/sh, -c, {script:?}, sh], args: [all]}}");
    format!("apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshTask\nmetadata: {{name: {name}}}\nspec: {{{more}{template}}}\n---\n")
}

fn status(space: &Namespace<'_>, name: &str) -> Value {
    serde_json::from_str::<Value>(&space.kubectl(&format!("get mt {name} -o json"))).unwrap()["status"].clone()
}

/// Waits until a JSONPath of a task's status is so.
fn until(space: &Namespace<'_>, name: &str, path: &str, right: impl Fn(&str) -> bool) -> String {
    space.until(&format!("{name}: {path}"), &format!("get mt {name} -o jsonpath={{.status.{path}}}"), right)
}

#[test]
fn a_task_runs_on_its_schedule_and_when_asked_and_both_are_told_of() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("tasks");
    let terminal = Terminal::new(&cluster, &space);
    let says = "echo $MESH_TASK tidies $1; test $1 = all";
    space.apply(&[task("tidy", "schedule: '* * * * *', ", says), task("migrate", "backoffLimit: 0, ", says)].concat());

    until(&space, "migrate", "conditions[0].reason", |reason| reason == "OnDemand");
    let end = terminal.mesh("task run migrate --wait");
    assert_eq!((end.code, end.stdout.as_str()), (0, "migrate tidies all\n"), "{}", end.stderr);
    let kubeconfig = cluster.kubeconfig();
    let words = ["--kubeconfig", kubeconfig.to_str().unwrap(), "-n", &space.name, "task", "run", "migrate", "--wait", "--", "none"];
    let end = mesh(cluster.dir(), &words);
    assert_eq!((end.code, end.stdout.as_str()), (1, "migrate tidies none\n"));
    assert!(end.stderr.contains("failed: it ended with exit code 1"), "{}", end.stderr);
    until(&space, "migrate", "runs[*].state", |states| states == "Failed Succeeded");
    assert_eq!(terminal.says("task logs migrate"), "migrate tidies none\n");
    assert_eq!(space.try_kubectl("get cronjob migrate").status.code(), Some(1), "it has no schedule");

    until(&space, "tidy", "lastSuccessfulTime", |at| !at.is_empty());
    let status = status(&space, "tidy");
    let run = &status["runs"][0];
    assert_eq!((run["state"].as_str(), run["exitCode"].as_i64(), run["tries"].as_i64()), (Some("Succeeded"), Some(0), Some(1)));
    assert_eq!(run["scheduledTime"], status["lastScheduleTime"]);
    assert!(status["nextScheduleTime"].as_str() > run["scheduledTime"].as_str());
    assert!(terminal.says("task ls tidy").contains("Succeeded"));

    assert_eq!(terminal.says("task suspend tidy"), "tidy suspended\n");
    space.until("the CronJob to rest", "get cronjob tidy -o jsonpath={.spec.suspend}", |suspended| suspended == "true");
    until(&space, "tidy", "conditions[0].reason", |reason| reason == "Suspended");
    let version = || space.kubectl("get cronjob,mt -o jsonpath={.items[*].metadata.resourceVersion}");
    let before = version();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(version(), before, "nothing is written at rest");

    space.kubectl("patch cronjob tidy --type=merge -p {\"spec\":{\"suspend\":false}}");
    space.until("it to be put back", "get cronjob tidy -o jsonpath={.spec.suspend}", |suspended| suspended == "true");
    space.kubectl("delete mt --all");
    space.until("everything of them to go", "get cronjob,job,pod -o name", str::is_empty);
}

#[test]
fn a_task_that_cannot_run_says_why() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("broken");
    let terminal = Terminal::new(&cluster, &space);
    let of_nobody = "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshTask\nmetadata: {name: orphan}\nspec: {serviceRef: {name: nobody, command: [x]}}\n---\n";
    let missing = "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshTask\nmetadata: {name: missing}\nspec: {template: {image: 'localhost/nothing:1', imagePullPolicy: Never, securityContext: {runAsUser: 1000}}}\n---\n";
    space.apply(
        &[
            &task("seconds", "schedule: '*/5 * * * * *', ", "true"),
            &task("sunday", "schedule: '0 0 * * 7', ", "true"),
            &task("fails", "backoffLimit: 1, ", "echo no database; exit 3"),
            &of_nobody.to_owned(),
            &missing.to_owned(),
        ]
        .map(String::as_str)
        .concat(),
    );
    for (name, reason, words) in [
        ("seconds", "UnsupportedByBackend", "spec.schedule: \"*/5 * * * * *\": a CronJob starts once a minute at most: write five fields"),
        ("sunday", "RejectedByCluster", "end of range (7) above maximum (6)"),
        ("orphan", "ServiceNotFound", "spec.serviceRef.name: there is no MeshService \"nobody\""),
    ] {
        until(&space, name, "conditions[0].reason", |told| told == reason);
        let message = until(&space, name, "conditions[0].message", |_| true);
        assert!(message.contains(words), "{message}");
    }
    let end = terminal.mesh("task run orphan");
    assert!(end.code == 1 && end.stderr.contains("there is no MeshService \"nobody\""), "{}", end.stderr);

    terminal.mesh("task run missing");
    until(&space, "missing", "runs[0].message", |message| message.contains("localhost/nothing:1"));
    terminal.mesh("task run fails");
    until(&space, "fails", "runs[0].state", |state| state == "Failed");
    let run = &status(&space, "fails")["runs"][0];
    assert_eq!((run["tries"].as_i64(), run["exitCode"].as_i64(), run["lastWords"].as_str()), (Some(2), Some(3), Some("no database")));
    assert_eq!(run["message"], "it ended with exit code 3 (2 tries)");
    let listed = terminal.says("task ls");
    assert!(listed.contains("no database"), "{listed}");
}

#[test]
fn a_rollout_waits_for_its_task_and_one_whose_task_fails_is_stopped() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("before");
    let web = |command: &str, version: &str| {
        let own = format!(
            "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: web}}\nspec: {{{SPEC}, type: Worker, command: [/bin/sleep, '1000'], env: [{{name: VERSION, value: '{version}'}}], rollout: {{before: {{task: migrate}}}}}}\n---\n"
        );
        own + &format!(
            "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshTask\nmetadata: {{name: migrate}}\nspec: {{backoffLimit: 0, serviceRef: {{name: web, command: [/bin/sh, -c, {command:?}]}}}}\n"
        )
    };
    let condition = |field: &str| format!("get msvc web -o jsonpath={{.status.conditions[?(@.type==\"Ready\")].{field}}}");
    space.apply(&web("sleep 5; echo $VERSION", "1"));
    space.until("it to wait", &condition("reason"), |reason| reason == "WaitingForTask");
    assert_eq!(space.kubectl("get deployment -o name"), "");
    space.until("it to be ready", &condition("status"), |ready| ready == "True");
    until(&space, "migrate", "runs[*].state", |states| states == "Succeeded");

    space.apply(&web("echo no table $VERSION; exit 3", "2"));
    space.until("it to be stopped", &condition("reason"), |reason| reason == "TaskFailed");
    let message = space.kubectl(&condition("message"));
    assert!(message.contains("exit code 3 (no table 2)"), "{message}");
    let version = "get deployment web -o jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"VERSION\")].value}";
    assert_eq!(space.kubectl(version), "1", "what ran goes on");

    space.apply(&web("true", "2"));
    space.until("the new revision", version, |version| version == "2");
    space.until("it to be ready", &condition("status"), |ready| ready == "True");
}
