//! The main path as its users drive it: the real binary, the real kubectl, real processes, real sockets, kill -9.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use mesh_gear::{
    controller::{self, Controller, manifest, until},
    load::{self, Load},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_with_kubectl_it_runs_behind_the_router_and_deleted_it_leaves_nothing() {
    let controller = Controller::start().await;
    let file = controller.write("api.yaml", &manifest("api", &json!({ "replicas": 3, "route": "/api", "healthPath": "/api/health" })));
    assert!(controller.kubectl(&["apply", "-f", &file]).contains("meshservice.mesh-controller.dev/api created"));
    controller.kubectl(&["wait", "--for=condition=Ready", "msvc", "--all", "--timeout=60s"]);
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let (status, body) = load::get(controller.router, "/api").await.unwrap();
        assert_eq!(status, 200, "{body}");
        seen.insert(load::instance(&body));
    }
    assert_eq!(seen.len(), 3, "requests are spread: {seen:?}");
    assert_eq!(load::get(controller.router, "/apix").await.unwrap().0, 404);

    let table = controller.kubectl(&["get", "msvc,mi,endpointslices"]);
    for word in ["READY", "3/3", "AllReplicasReady", "RESTARTS", "ENDPOINTS", "127.0.0.1"] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    let description = controller.kubectl(&["describe", "msvc", "api"]);
    assert!(description.contains("InstancesCreated"), "no events in\n{description}");
    let pids = controller.pids();
    assert_eq!(pids.len(), 3);

    controller.kubectl(&["delete", "-f", &file]);
    let left: Vec<_> = pids.iter().filter(|pid| controller::lives(**pid)).collect();
    assert!(left.is_empty(), "still there after kubectl delete: {left:?}");
    assert_eq!(controller.json(&["get", "mi,endpointslices"])["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_killed_under_load_is_replaced_and_nearly_nobody_notices() {
    let controller = Controller::start().await;
    controller.apply("api", &json!({ "replicas": 3, "route": "/api", "healthPath": "/api/health" })).await;
    let load = Load::start(controller.router, "/api", 8);
    load.requests(500).await;
    let victim = controller.pids()[0];
    controller::kill(victim, "-9");
    until("the instance to run again", async || {
        controller.pids().into_iter().all(|pid| pid != victim && controller::lives(pid)).then_some(())
    })
    .await;
    controller.kubectl(&["wait", "--for=condition=Ready", "msvc/api", "--timeout=30s"]);
    load.requests(500).await;
    // What the dead one had begun to read may be what killed it: no other one gets it. That is one request of each connection at the most.
    let failures = load.stop().await.failures;
    let known = failures.iter().all(|failure| failure.starts_with("502: ") && failure.contains("was not sent to another"));
    assert!(known && failures.len() <= 8, "{failures:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_controller_finds_everything_again() {
    let mut controller = Controller::start().await;
    controller.apply("api", &json!({ "replicas": 3, "route": "/api", "healthPath": "/api/health" })).await;
    let (pids, uids) = (controller.pids(), controller.each("mi", "/metadata/uid"));
    controller.kill_9_and_start_again().await;
    controller.kubectl(&["wait", "--for=condition=Ready", "msvc/api", "--timeout=30s"]);
    until("the router to serve", async || (load::get(controller.router, "/api").await.ok()?.0 == 200).then_some(())).await;
    assert_eq!(controller.pids(), pids);
    assert_eq!(controller.each("mi", "/metadata/uid"), uids);
    assert_eq!(controller.each("mi", "/status/restartCount"), vec![json!(0); 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_and_rolling_under_load_lose_no_request() {
    let controller = Controller::start().await;
    let spec = |replicas: u32, colour: &str| json!({ "replicas": replicas, "route": "/api", "healthPath": "/api/health", "env": [{ "name": "COLOUR", "value": colour }] });
    controller.apply("api", &spec(3, "red")).await;
    let load = Load::start(controller.router, "/api", 8);
    let drains = controller.watch_drains();
    for replicas in [1, 5, 2] {
        controller.kubectl(&["scale", "msvc/api", &format!("--replicas={replicas}")]);
        controller.settled("api", replicas).await;
    }
    for colour in ["green", "blue"] {
        controller.apply("api", &spec(2, colour)).await;
        controller.settled("api", 2).await;
    }
    let report = load.stop().await;
    assert!(report.answered > 1000, "only {} requests", report.answered);
    report.expect_no_failures();
    let drained = drains.stop();
    assert!(drained >= 7, "an acknowledged drain was seen {drained} times only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_and_a_sticky_session_live_through_a_rolling_update() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;

    let controller = Controller::start().await;
    let spec = |colour: &str| json!({ "replicas": 2, "route": "/api", "healthPath": "/api/health", "strategy": "SessionAffinity", "drain": { "timeout": "5s" }, "env": [{ "name": "COLOUR", "value": colour }] });
    controller.apply("api", &spec("red")).await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/api/echo", controller.router)).await.unwrap();
    let mut session = load::Session::new(controller.router);
    let first = session.get("/api").await;
    for _ in 0..5 {
        assert_eq!(session.get("/api").await, first, "the session stays with its instance");
    }
    controller.write_and_apply("api", &spec("green"));
    let state = || controller.json(&["get", "mi", &first])["status"]["state"].clone();
    until("the session's instance to drain", async || (state() == "Draining").then_some(())).await;
    assert_eq!(session.get("/api").await, first, "the session stays while its instance drains");
    // While the old instances drain, both go on.
    for round in 0..20 {
        if socket.send(Message::text(round.to_string())).await.is_err() {
            break;
        }
        let Some(Ok(echo)) = socket.next().await else { break };
        assert!(echo.is_close() || echo.to_text().is_ok_and(|text| text == round.to_string()), "{echo:?}");
        session.get("/api").await;
    }
    controller.settled("api", 2).await;
    assert_ne!(session.get("/api").await, first, "the session has a new instance");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_in_a_file_is_named_and_nothing_is_changed() {
    let controller = Controller::start().await;
    let cases: &[(&str, Value, &str)] = &[
        ("an unknown field", json!({ "replica": 2 }), "unknown field \"spec.replica\""),
        ("both forms of a route", json!({ "route": "/a", "routes": [{ "path": "/b" }] }), "route is the short form of routes"),
        ("both forms of a probe", json!({ "healthPath": "/h", "readinessProbe": { "tcpSocket": {} } }), "healthPath is the short form"),
        ("a route without a slash", json!({ "route": "api" }), "a route begins with a slash"),
        ("a port that is none", json!({ "port": 70000 }), "spec.port: Invalid value: 70000"),
        ("fewer than no replicas", json!({ "replicas": -1 }), "spec.replicas: Invalid value: -1"),
        ("an empty command", json!({ "command": [] }), "spec.command"),
        (
            "an unknown strategy",
            json!({ "strategy": "Random" }),
            "supported values: \"RoundRobin\", \"LeastConnections\", \"SessionAffinity\"",
        ),
        ("a duration that is none", json!({ "drain": { "timeout": "5 parsecs" } }), "spec.drain.timeout"),
        ("a worker with a route", json!({ "type": "Worker", "route": "/" }), "a Worker gets no requests"),
    ];
    for (what, spec, expected) in cases {
        let file = controller.write("bad.yaml", &manifest("bad", spec));
        for args in [["apply", "-f", &file].as_slice(), ["apply", "--server-side", "-f", &file].as_slice()] {
            let error = controller.kubectl_fails(args);
            assert!(error.contains(expected), "{what} ({args:?}): {expected:?} is not in\n{error}");
        }
    }
    for name in ["x".repeat(300), "line\nbreak".to_owned(), "UPPER".to_owned(), "-rf".to_owned()] {
        let file = controller.write("bad.yaml", &manifest(&name, &json!({})));
        let error = controller.kubectl_fails(&["apply", "-f", &file]);
        assert!(error.contains("name"), "{name:?}: {error}");
    }
    assert_eq!(controller.json(&["get", "msvc", "-A"])["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_says_why_and_disturbs_nobody_else() {
    let controller = Controller::start_with(&["--port-range", "23100-23103"]).await;
    controller.apply("good", &json!({ "replicas": 1, "route": "/api", "healthPath": "/api/health" })).await;
    let good = controller.pids();
    let cases: &[(&str, Value, &str)] = &[
        ("missing", json!({ "command": ["no-such-program"] }), "no-such-program: no such program in PATH"),
        ("lost", json!({ "workingDir": "/no/such/dir" }), "/no/such/dir"),
        ("ends", json!({ "command": ["/bin/false"] }), "exit code 1"),
        ("mute", json!({ "command": ["sleep", "1000"] }), "nothing listens on port"),
        ("deaf", json!({ "readinessProbe": { "httpGet": { "path": "/api/nowhere" }, "periodSeconds": 1 } }), "HTTP status 404"),
        ("poor", json!({ "envFrom": [{ "secretRef": { "name": "nope" } }] }), "Secret \"nope\""),
        ("image", json!({ "command": null, "image": "example/image:1" }), "runs no images"),
        ("crowd", json!({ "replicas": 9 }), "no port of the node's range 23100-23103 is free"),
        ("rival", json!({ "route": "/api", "replicas": 0 }), "belongs to the older service default/good"),
    ];
    for (name, spec, expected) in cases {
        controller.write_and_apply(name, spec);
        until(&format!("{name} to say {expected:?}"), async || {
            let conditions = controller.json(&["get", "msvc", name])["status"]["conditions"].to_string();
            conditions.contains(&expected.replace('"', "\\\"")).then_some(())
        })
        .await;
        controller.kubectl(&["delete", "msvc", name]);
    }
    assert_eq!(controller.pids(), good);
    assert_eq!(load::get(controller.router, "/api").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_cannot_start_says_what_to_do() {
    let controller = Controller::start().await;
    let other = |args: &[&str]| controller::run_to_end(args);
    let state = controller.state_dir();
    let held =
        other(&["--state-dir", &state, "--api-listen", "127.0.0.1:0", "--router-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(held.contains(&controller.pid().to_string()) && held.contains(&state), "{held}");
    let dir = tempfile::tempdir().unwrap();
    let fresh = dir.path().to_str().unwrap();
    let taken = controller.router.to_string();
    let port = other(&["--state-dir", fresh, "--api-listen", "127.0.0.1:0", "--router-listen", &taken, "--admin-listen", "127.0.0.1:0"]);
    assert!(port.contains(&taken) && port.contains("--router-listen"), "{port}");
    assert_eq!(load::get(controller.router, "/").await.unwrap().0, 404, "the first one goes on");
    let garbled = tempfile::tempdir().unwrap();
    let files = controller.store_files();
    for file in &files {
        std::fs::write(garbled.path().join(file), b"this is no store\n".repeat(1000)).unwrap();
    }
    let path = garbled.path().to_str().unwrap();
    let corrupt =
        other(&["--state-dir", path, "--api-listen", "127.0.0.1:0", "--router-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(corrupt.contains(path) && corrupt.contains("backup"), "{corrupt}");
    assert_eq!(std::fs::read(garbled.path().join(&files[0])).unwrap().len(), 17_000, "what was found is left as it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_ignores_sigterm_and_its_children_are_killed_after_the_grace() {
    let controller = Controller::start().await;
    let script = "trap '' TERM; (setsid sleep 4711 &) ; while :; do sleep 1; done";
    let spec = json!({ "type": "Worker", "command": ["/bin/sh", "-c", script], "terminationGracePeriodSeconds": 1 });
    controller.apply("stubborn", &spec).await;
    let pids = controller.pids();
    until("the grandchild", async || (controller::descendants_named("sleep\u{0}4711") == 1).then_some(())).await;
    controller.kubectl(&["delete", "msvc", "stubborn", "--timeout=20s"]);
    assert!(pids.iter().all(|pid| !controller::lives(*pid)));
    assert_eq!(controller::descendants_named("sleep\u{0}4711"), 0, "the grandchild is gone too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_read_through_the_api_and_rotate() {
    let controller = Controller::start().await;
    let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; sleep 1000";
    let spec = json!({ "type": "Worker", "command": ["/bin/sh", "-c", script], "logs": { "maxSize": "16Ki", "maxFiles": 2 } });
    controller.apply("talker", &spec).await;
    let name = controller.each("mi", "/metadata/name")[0].as_str().unwrap().to_owned();
    let path = format!("/apis/mesh-controller.dev/v1alpha1/namespaces/default/meshinstances/{name}/log");
    until("the last line", async || controller.kubectl(&["get", "--raw", &path]).trim_end().ends_with("line 1999").then_some(())).await;
    assert_eq!(controller.kubectl(&["get", "--raw", &format!("{path}?tailLines=2")]), "line 1998\nline 1999\n");
    assert!(controller.log_bytes() <= 2 * 16 * 1024 + 4096, "{} bytes of logs", controller.log_bytes());
}
