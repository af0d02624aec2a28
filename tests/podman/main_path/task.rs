//! Tasks in containers: what one came to and said, tries, a deadline, and nothing left of one that is deleted.
use serde_json::{Value, json};

use crate::host::{IMAGE, host, podman};
use mesh_gear::controller::{Controller, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_tasks_are_containers_that_end_and_are_told_of() {
    let Some(host) = host() else { return };
    let engine = host.service("task");
    let prefix = format!("mt{}-task", std::process::id());
    let controller = Controller::start_with(&["--backend", "podman", "--engine-socket", &engine.socket.display().to_string()]).await;
    let apply = |name: &str, script: &str, more: Value| {
        let template = json!({
            "image": IMAGE, "command": ["sh", "-c", script], "terminationGracePeriodSeconds": 1,
            "podman": { "network": prefix, "containerPrefix": prefix },
        });
        let mut spec = json!({ "schedule": "@every 1s", "concurrencyPolicy": "Forbid", "backoffLimit": 0, "template": template });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let object =
            json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask", "metadata": { "name": name }, "spec": spec });
        let file = controller.write(&format!("{name}.yaml"), &object);
        controller.kubectl(&["apply", "-f", &file]);
    };
    let run = async |name: &str, state: &str| {
        until(&format!("a run of {name} that is {state}"), async || {
            let task = controller.json(&["get", "mt", name]);
            task["status"]["runs"].as_array()?.iter().find(|run| run["state"] == state).cloned()
        })
        .await
    };
    apply("good", "echo task $MESH_TASK at $MESH_SCHEDULED_TIME; test -r $MESH_TOKEN_FILE && echo may ask", json!({}));
    let good = run("good", "Succeeded").await;
    let said = good["lastWords"].as_str().unwrap();
    assert!(said.contains("task good at 20") && said.ends_with("may ask") && good["exitCode"] == 0, "{good}");

    apply("bad", "echo no such table >&2; exit 3", json!({}));
    let bad = run("bad", "Failed").await;
    assert_eq!(
        (&bad["exitCode"], &bad["lastWords"], &bad["message"]),
        (&json!(3), &json!("no such table"), &json!("it ended with exit code 3"))
    );

    apply("slow", "sleep 1000", json!({ "activeDeadlineSeconds": 2 }));
    let slow = run("slow", "Failed").await;
    assert_eq!(slow["message"], "it took longer than activeDeadlineSeconds, 2 s");

    for name in ["good", "bad", "slow"] {
        controller.kubectl(&["delete", "mt", name]);
    }
    let filter = format!("name=^{prefix}-");
    until("nothing to be left", async || {
        let left = podman(&["ps", "-aq", "--filter", &filter]).await.unwrap();
        (left.is_empty() && controller.json(&["get", "mi"])["items"].as_array()?.is_empty()).then_some(())
    })
    .await;
}
