//! The main path with containers, as its users drive it: the real binary, the real kubectl, a real engine, kill -9.
mod door;
mod task;

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};

use super::host::{Service, host, podman, shop_image, signal};
use mesh_gear::{
    controller::{Controller, until},
    load::{self, Load},
};

/// A controller on an engine service of its own, and names that no other test has.
struct Shop {
    controller: Controller,
    engine: Service,
    prefix: String,
}

impl Shop {
    async fn open(name: &str) -> Option<Self> {
        let engine = host()?.service(name);
        let socket = engine.socket.display().to_string();
        let controller = Controller::start_with(&["--backend", "podman", "--engine-socket", &socket]).await;
        Some(Self { controller, engine, prefix: format!("mt{}-{name}", std::process::id()) })
    }

    /// The shop's backend in containers.
    fn spec(&self, more: &Value) -> Value {
        let own = json!({ "network": self.prefix, "containerPrefix": self.prefix });
        let mut spec = json!({
            "image": shop_image(), "command": ["/bin/shop", "backend"], "port": 3000, "route": "/api", "healthPath": "/api/health",
            "env": [{ "name": "HOST", "value": "0.0.0.0" }], "podman": own, "drain": { "timeout": "10s" }, "terminationGracePeriodSeconds": 5,
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    }

    /// What `podman ps` calls what runs.
    async fn running(&self) -> BTreeSet<String> {
        let filter = format!("name=^{}-", self.prefix);
        podman(&["ps", "--format", "{{.Names}}", "--filter", &filter]).await.unwrap().lines().map(ToOwned::to_owned).collect()
    }

    /// What `kubectl get mi` says that should run.
    fn wanted(&self) -> BTreeSet<String> {
        let names = self.controller.each("mi", "/metadata/name");
        names.iter().filter_map(Value::as_str).map(|name| format!("{}-{name}", self.prefix)).collect()
    }

    /// Waits until podman and kubectl tell the same story of ready instances with these restarts.
    async fn agree(&self, what: &str, restarts: &[u64]) {
        until(&format!("one story after {what}"), async || {
            let states = self.controller.each("mi", "/status/state");
            let counts: Vec<u64> = self.controller.each("mi", "/status/restartCount").iter().filter_map(Value::as_u64).collect();
            let ready = states.iter().all(|state| state == "Ready") && counts == restarts;
            (ready && self.running().await == self.wanted() && load::get(self.controller.router, "/api").await.ok()?.0 == 200).then_some(())
        })
        .await;
    }

    fn first(&self) -> String {
        self.wanted().into_iter().next().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_containers_engine_or_controller_is_healed_and_foreign_ones_are_left_alone() {
    let Some(mut shop) = Shop::open("heal").await else { return };
    let foreign = format!("{}x-foreign", shop.prefix);
    podman(&["run", "-d", "--name", &foreign, "-e", "HOST=0.0.0.0", "-e", "PORT=1234", shop_image(), "/bin/shop", "backend"])
        .await
        .unwrap();
    let started = podman(&["inspect", "-f", "{{.State.StartedAt}}", &foreign]).await.unwrap();
    shop.controller.apply("api", &shop.spec(&json!({ "replicas": 2 }))).await;
    shop.agree("the first start", &[0, 0]).await;

    let pid = podman(&["inspect", "-f", "{{.State.Pid}}", &shop.first()]).await.unwrap();
    signal(pid.parse().unwrap(), rustix::process::Signal::KILL);
    shop.agree("kill -9 of its process", &[1, 0]).await;
    podman(&["rm", "-f", "-t", "0", &shop.first()]).await.unwrap();
    shop.agree("podman rm -f", &[2, 0]).await;
    podman(&["stop", "-t", "1", &shop.first()]).await.unwrap();
    shop.agree("podman stop", &[3, 0]).await;

    shop.engine.kill();
    let node = |shop: &Shop| shop.controller.each("mn", "/status/conditions/0/reason");
    until("the node to tell of it", async || (node(&shop) == [json!("EngineUnreachable")]).then_some(())).await;
    assert_eq!(load::get(shop.controller.router, "/api").await.unwrap().0, 200, "without the engine");
    shop.engine.restart();
    until("the node to be ready again", async || (node(&shop) == [json!("AgentReady")]).then_some(())).await;
    shop.agree("kill -9 of the engine", &[3, 0]).await;

    let before = shop.controller.pids();
    shop.controller.kill_9_and_start_again().await;
    shop.agree("kill -9 of the controller", &[3, 0]).await;
    assert_eq!(shop.controller.pids(), before, "taken up, not started again");

    shop.controller.kubectl(&["delete", "msvc", "api", "--timeout=30s"]);
    let left = podman(&["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("name=^{}-", shop.prefix)]).await.unwrap();
    let networks = podman(&["network", "ls", "--format", "{{.Name}}"]).await.unwrap();
    assert!(left.is_empty() && !networks.lines().any(|name| name == shop.prefix), "left: {left} {networks}");
    assert_eq!(podman(&["inspect", "-f", "{{.State.StartedAt}}", &foreign]).await.unwrap(), started, "a foreign container was touched");
    podman(&["rm", "-f", "-t", "0", &foreign]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_state_directory_was_removed_a_controller_takes_up_what_it_left_and_says_so() {
    let Some(mut shop) = Shop::open("heritage").await else { return };
    let secret = shop.controller.write(
        "secret.json",
        &json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "token" }, "stringData": { "TOKEN": "t" } }),
    );
    let claim = format!("{}-data", shop.prefix);
    let volume = format!("mesh-default-{claim}");
    let spec = shop.spec(&json!({
        "volumes": [{ "name": "token", "secret": { "secretName": "token" } }, { "name": "data", "persistentVolumeClaim": { "claimName": claim } }],
        "volumeMounts": [{ "name": "token", "mountPath": "/token" }, { "name": "data", "mountPath": "/data" }],
    }));
    shop.controller.kubectl(&["apply", "-f", &secret]);
    shop.controller.apply("api", &spec).await;
    shop.agree("the first start", &[0]).await;

    shop.controller.kill_9();
    std::fs::remove_dir_all(shop.controller.state_dir()).unwrap();
    shop.controller.start_again().await;
    shop.controller.kubectl(&["apply", "-f", &secret]);
    shop.controller.apply("api", &spec).await;
    shop.agree("the start with nothing remembered", &[0]).await;
    let told = shop.controller.each("events", "/reason").iter().any(|reason| reason == "Adopted");
    let messages = shop.controller.each("events", "/message");
    let of_volume = messages.iter().filter_map(Value::as_str).any(|message| message.contains(&format!("volume {volume}")));
    assert!(told && of_volume, "{messages:?}");

    shop.controller.kubectl(&["delete", "msvc", "api", "--timeout=30s"]);
    let networks = podman(&["network", "ls", "--format", "{{.Name}}"]).await.unwrap();
    assert!(!networks.lines().any(|name| name == shop.prefix), "{networks}");
    podman(&["volume", "rm", &volume]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_updates_of_containers_lose_no_request_no_session_and_no_websocket() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let Some(shop) = Shop::open("roll").await else { return };
    let colour = |colour: &str| {
        let env = json!([{ "name": "HOST", "value": "0.0.0.0" }, { "name": "COLOUR", "value": colour }]);
        shop.spec(&json!({ "replicas": 3, "strategy": "SessionAffinity", "drain": { "timeout": "10m" }, "env": env }))
    };
    shop.controller.apply("api", &colour("red")).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/api/echo", shop.controller.router)).await.unwrap();
    let mut session = load::Session::new(shop.controller.router);
    let first = session.get("/api").await;
    let load = Load::start(shop.controller.router, "/api", 8);
    for next in ["green", "blue"] {
        let old = shop.controller.json(&["get", "msvc", "api"])["status"]["currentRevision"].clone();
        shop.controller.write_and_apply("api", &colour(next));
        until("the new revision to be ready", async || {
            let service = shop.controller.json(&["get", "msvc", "api"]);
            let status = &service["status"];
            let ready = status["conditions"].as_array()?.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            (status["currentRevision"] != old && ready && status["updatedReplicas"] == 3).then_some(())
        })
        .await;
        // The WebSocket and the session began with the first revision, whose instances drain meanwhile.
        socket.send(Message::text(next)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().to_text().unwrap(), next);
        assert_eq!(session.get("/api").await, first, "the session stays until the drain deadline");
        load.requests(10_000).await;
    }
    let report = load.stop().await;
    assert!(report.answered >= 20_000, "only {} requests", report.answered);
    report.expect_no_failures();
}

/// The file that the README tells people to apply is one that this version takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_in_containers_is_applied_as_it_lies_there() {
    let Some(shop) = Shop::open("file").await else { return };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop-containers/mesh.yaml");
    let applied = shop.controller.kubectl(&["apply", "--dry-run=server", "-f", &file.display().to_string()]);
    assert_eq!(applied.lines().count(), 3, "{applied}");
}
