//! The agent's door from inside containers: socket and token are mounted, whoever the user in the container is.
use serde_json::json;

use crate::host::{holder_image, host, podman};
use mesh_gear::controller::{Controller, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containers_hold_locks_by_a_token_of_their_own_and_a_killed_ones_is_the_nexts() {
    let Some(host) = host() else { return };
    let engine = host.service("door");
    let prefix = format!("mt{}-door", std::process::id());
    let controller = Controller::start_with(&["--backend", "podman", "--engine-socket", &engine.socket.display().to_string()]).await;
    // An hour would be too long for a lock that lapses: a killed holder's goes at once.
    let spec = json!({
        "image": holder_image(), "command": ["/bin/holder", "k"], "type": "Worker", "replicas": 2, "terminationGracePeriodSeconds": 1,
        "podman": { "network": prefix, "containerPrefix": prefix }, "securityContext": { "runAsUser": 1234, "runAsGroup": 1234 },
    });
    controller.apply("holder", &spec).await;
    let held = async || {
        let lease = controller.json(&["get", "leases", "-l", "mesh-controller.dev/lock"])["items"][0].clone();
        let holder = lease["spec"]["holderIdentity"].as_str()?.split('_').next()?.to_owned();
        Some((holder, lease["metadata"]["uid"].clone(), lease["spec"]["leaseTransitions"].clone()))
    };
    let first = until("one to hold it", held).await;
    let container = format!("{prefix}-{}", first.0);
    let mounts = podman(&["inspect", "--format", "{{json .}}", &container]).await.unwrap();
    let token = token(&controller, &first.0);
    assert!(mounts.contains("/run/mesh/token") && !mounts.contains(&token), "the token stands in its file only");

    podman(&["kill", "--signal", "KILL", &container]).await.unwrap();
    let next = until("the next to hold it", async || held().await.filter(|next| (&next.1, &next.2) != (&first.1, &first.2))).await;
    assert_ne!(next.0, first.0, "the killed one asks anew, behind the one that waits");
    // It runs again, with a token that is its own again.
    until("the killed one to ask again", async || {
        let said = controller.kubectl(&[
            "get",
            "--raw",
            &format!("/apis/mesh-controller.dev/v1alpha1/namespaces/default/meshinstances/{}/log", first.0),
        ]);
        (said.matches("asks for k").count() == 2).then_some(())
    })
    .await;
    controller.kubectl(&["delete", "msvc", "holder", "--timeout=30s"]);
    assert!(controller.json(&["get", "leases", "-l", "mesh-controller.dev/lock"])["items"].as_array().unwrap().is_empty());
}

fn token(controller: &Controller, instance: &str) -> String {
    let uid = controller.json(&["get", "mi", instance])["metadata"]["uid"].as_str().unwrap().to_owned();
    std::fs::read_to_string(format!("{}/tokens/{instance}_{uid}/token", controller.state_dir())).unwrap()
}
