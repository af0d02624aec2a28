//! Rolling updates and scalings under a constant load through the routers: nothing fails. The same without the hook loses requests.
//! The service is the rudest that there is: it ends at once on SIGTERM, whatever it is doing; and the requests are POSTs, which may not be asked twice.
use std::fmt::Write;

use super::{
    machine::{Cluster, Namespace},
    product::ready,
};
use mesh_gear::load::{Load, Report};

const ROUNDS: usize = 20;

fn rude(path: &str, replicas: usize, round: usize, drain: &str) -> String {
    format!(
        r##"
apiVersion: v1
kind: ConfigMap
metadata: {{name: work}}
data:
  work: "#!/bin/sh\nsleep 0.05\nprintf 'Content-Type: text/plain\\r\\n\\r\\ndone\\n'\n"
---
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshService
metadata: {{name: rude}}
spec:
  image: localhost/busybox:test
  imagePullPolicy: Never
  command: [/bin/sh, -c, "trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait"]
  replicas: {replicas}
  routes: [{{path: {path}}}]
  readinessProbe: {{tcpSocket: {{}}, periodSeconds: 1}}
  env: [{{name: ROUND, value: "{round}"}}]
  securityContext: {{runAsUser: 1000}}
  terminationGracePeriodSeconds: 1
  drain: {{timeout: {drain}}}
  volumes: [{{name: work, configMap: {{name: work, defaultMode: 0555}}}}]
  volumeMounts: [{{name: work, mountPath: /www/cgi-bin}}]
"##
    )
}

/// Twice as many rollouts as said, and scalings between; how the load fared.
async fn changes(space: &Namespace<'_>, router: std::net::SocketAddr, path: &'static str, rounds: usize, drain: &str) -> Report {
    space.apply(&rude(path, 2, 0, drain));
    ready(space);
    let load = Load::of_posts(router, path, 4);
    load.requests(50).await;
    for round in 1..=rounds {
        let replicas = 2 + round % 2;
        space.apply(&rude(path, replicas, round, drain));
        let generation = space.kubectl("get msvc rude -o jsonpath={.metadata.generation}");
        let said = "get msvc rude -o jsonpath={.status.observedGeneration}:{.status.conditions[?(@.type==\"Ready\")].status}:{.status.readyReplicas}";
        space.until("the rollout to end", said, |text| text == format!("{generation}:True:{replicas}"));
        let scaled = 5 - replicas;
        space.kubectl(&format!("scale msvc rude --replicas={scaled}"));
        space.until("the scaling to end", "get msvc rude -o jsonpath={.status.ready}", |text| text == format!("{scaled}/{scaled}"));
    }
    load.requests(50).await;
    load.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_rollouts_and_twenty_scalings_lose_no_request_and_without_the_hook_some() {
    let Some(cluster) = Cluster::with_node() else { return };
    let router = cluster.router();
    let (with, without) = (cluster.namespace("rolls"), cluster.namespace("rolls-bare"));
    let held = changes(&with, router, "/cgi-bin/work", ROUNDS, "20s").await;
    let mut said =
        format!("with the hook: {} requests, {} failed over {ROUNDS} rollouts and {ROUNDS} scalings\n", held.answered, held.failures.len());
    with.kubectl("delete msvc rude");
    let bare = changes(&without, router, "/cgi-bin/work", ROUNDS / 4, "0s").await;
    let _ = writeln!(
        said,
        "without it: {} requests, {} failed over {} rollouts and as many scalings",
        bare.answered,
        bare.failures.len(),
        ROUNDS / 4
    );
    print!("{said}");
    held.expect_no_failures();
    assert!(!bare.failures.is_empty(), "the test would not see a request that is lost");
}
