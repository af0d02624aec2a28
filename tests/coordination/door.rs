//! Who is let in, and what is said to wrong input.
use std::{fs, os::unix::fs::PermissionsExt};

use mesh_gear::controller::{Controller, run_to_end, until};
use serde_json::json;
use tokio::net::UnixStream;

use crate::{
    raw::{Events, ask},
    rig::Rig,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_token_of_a_run_that_lives_is_let_in_and_it_is_nobody_elses_to_read() {
    let rig = Rig::start(1).await;
    let (socket, worker) = (rig.socket(), &rig.workers()[0]);
    let uid = rig.controller.each("mi", "/metadata/uid")[0].as_str().unwrap().to_owned();
    let file = format!("{}/tokens/{}_{uid}/token", rig.controller.state_dir(), worker.name);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&worker.token).unwrap();
    let environment = fs::read_to_string(format!("/proc/{}/environ", worker.pid)).unwrap();
    assert!(environment.contains(&format!("MESH_AGENT=unix://{socket}")) && environment.contains(&format!("MESH_TOKEN_FILE={file}")));
    assert!(!environment.contains(token.as_str()), "a token stands in its file only");

    let last = if token.ends_with('A') { 'E' } else { 'A' };
    let forged = format!("{}{last}", &token[..token.len() - 1]);
    for (token, words) in
        [(None, "there is no token"), (Some("nonsense"), "not made by this agent"), (Some(&*forged), "not made by this agent")]
    {
        let (status, head, problem) = ask(&socket, token, "GET", "/v1/self", "").await;
        assert!(status == 401 && head.contains("application/problem+json") && head.contains("www-authenticate: bearer"), "{head}");
        assert!(
            problem["detail"].as_str().unwrap().contains(words) && problem["remedy"].as_str().unwrap().contains("MESH_TOKEN_FILE"),
            "{problem}"
        );
    }
    let (status, _, myself) = ask(&socket, Some(&token), "GET", "/v1/self", "").await;
    assert_eq!((status, myself["instance"].as_str(), myself["service"].as_str()), (200, Some(&*worker.name), Some("worker")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_input_is_a_problem_that_names_the_field_and_the_remedy() {
    let rig = Rig::start(1).await;
    let (socket, token) = (rig.socket(), fs::read_to_string(&rig.workers()[0].token).unwrap());
    let long = format!("/v1/locks/{}", "k".repeat(10_240));
    for (method, path, body, status, field) in [
        ("POST", "/v1/locks/k", r#"{"ttl":"0s"}"#, 400, "ttl"),
        ("POST", "/v1/locks/k", r#"{"ttl":"87600h"}"#, 400, "ttl"),
        ("POST", "/v1/locks/a%0Ab", "{}", 400, "key"),
        ("POST", long.as_str(), "{}", 400, "key"),
        ("POST", "/v1/leaders/", "{}", 400, "group"),
        ("PUT", "/v1/locks/k", "{}", 400, "fence"),
        ("DELETE", "/v1/locks/k", "", 400, "fence"),
        ("PUT", "/v1/locks/k", r#"{"fence":1}"#, 409, ""),
        ("GET", "/v1/locks/k", "", 404, ""),
        ("PATCH", "/v1/locks/k", "", 405, ""),
        ("GET", "/v1/nothing", "", 404, ""),
        ("GET", "/", "", 404, ""),
    ] {
        let (said, head, problem) = ask(&socket, Some(&token), method, path, body).await;
        assert_eq!((said, problem["field"].as_str().unwrap_or_default()), (status, field), "{method} {path}: {head} {problem}");
        assert!(field.is_empty() || !problem["remedy"].as_str().unwrap().is_empty(), "{problem}");
    }
    let (status, _, _) = ask(&socket, Some(&token), "POST", "/v1/locks/k", &" ".repeat(70_000)).await;
    assert_eq!(status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_much_some_ask_for_at_once_others_are_answered_and_the_limit_is_told_and_counted() {
    // A 32nd of it are connections to the agent: 200.
    let rig = Rig::on(Controller::start_under(6400).await, 3).await;
    let socket = rig.socket();
    let [one, two, other] = &rig.workers()[..] else { panic!() };
    let [one, two, other] = [one, two, other].map(|worker| fs::read_to_string(&worker.token).unwrap());
    let mut all = Vec::new();
    for greedy in [&one, &two] {
        let mut waiting = Vec::new();
        let (head, problem) = loop {
            let (status, head, problem) = ask(&socket, Some(greedy), "POST", "/v1/locks/k", "{}").await;
            if status == 429 {
                break (head, problem);
            }
            let mut events = Events::open(&socket, greedy, "POST", "/v1/leaders/k", "{}").await;
            assert_eq!(events.next().await.unwrap().0, "queued");
            waiting.push(events);
        };
        assert!(waiting.len() > 40 && head.contains("retry-after"), "{} {head}", waiting.len());
        assert!(problem["detail"].as_str().unwrap().contains("requests of this instance are under way"), "{problem}");
        all.push(waiting);
    }
    // Who renews or releases what it holds, or only looks, needs no place.
    assert_eq!(ask(&socket, Some(&one), "GET", "/v1/self", "").await.0, 200);
    // And connections on which nothing is asked: they give way.
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.extend(UnixStream::connect(&socket).await.ok());
    }
    assert_eq!(ask(&socket, Some(&other), "GET", "/v1/self", "").await.0, 200);
    for metric in ["mesh_agent_refused_requests_total", "mesh_agent_closed_connections_total", "mesh_agent_requests"] {
        assert!(rig.controller_metric(&format!("{metric} ")).await > 0, "{metric}");
    }
    drop(all);
    until("its place to be free", async || (ask(&socket, Some(&one), "POST", "/v1/locks/k", "{}").await.0 != 429).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_names_what_there_is() {
    let rig = Rig::start(1).await;
    let (socket, token) = (rig.socket(), fs::read_to_string(&rig.workers()[0].token).unwrap());
    let (status, _, document) = ask(&socket, None, "GET", "/v1/openapi.json", "").await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    for (path, operations) in document["paths"].as_object().unwrap() {
        let there = path.replace("{key}", "k").replace("{group}", "g");
        for method in ["get", "post", "put", "delete", "patch"] {
            let (status, _, problem) = ask(&socket, Some(&token), &method.to_uppercase(), &there, "").await;
            let known =
                status != 405 && !(status == 404 && problem["detail"].as_str().is_some_and(|detail| detail.contains("openapi.json")));
            assert_eq!(known, operations.get(method).is_some(), "{method} {path}: {status} {problem}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_whose_path_is_too_long_is_elsewhere_or_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let controller = Controller::start_in(&dir.path().join("x".repeat(100))).await;
    controller.apply("worker", &json!({ "type": "Worker", "command": ["sh", "-c", "echo at $MESH_AGENT; exec sleep 1000000"] })).await;
    let instance = controller.each("mi", "/metadata/name")[0].as_str().unwrap().to_owned();
    let log = format!("/apis/mesh-controller.dev/v1alpha1/namespaces/default/meshinstances/{instance}/log");
    let said =
        until("its word", async || Some(controller.kubectl(&["get", "--raw", &log])).filter(|said| said.contains("at unix://"))).await;
    let socket = said.split("at unix://").nth(1).unwrap().trim();
    assert_eq!(ask(socket, None, "GET", "/v1/openapi.json", "").await.0, 200, "{socket}");

    let too_long = dir.path().join("y".repeat(100));
    let state = dir.path().join("state");
    let said = run_to_end(&[
        "--state-dir",
        state.to_str().unwrap(),
        "--agent-socket",
        too_long.to_str().unwrap(),
        "--api-listen",
        "127.0.0.1:0",
        "--router-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert!(said.contains("--agent-socket") && said.contains("107 are possible"), "{said}");
    let said = run_to_end(&["--state-dir", dir.path().to_str().unwrap(), "--agent-listen", "0.0.0.0:7603"]);
    assert!(said.contains("--agent-listen") && said.contains("no loopback address"), "{said}");
}
