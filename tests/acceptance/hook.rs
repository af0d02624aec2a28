//! The hook of a pod that is to end: real routers and the real `mesh-drain`, on a fake API that has pods and Leases.
use std::{path::PathBuf, process::Stdio, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, process::Child, task::JoinSet, time::Instant};

use super::standalone::Router;
use mesh_gear::{
    client::{Client, eventually, soon},
    fake_api::FakeApi,
    instance::{Instance, instance},
    objects::{Conditions, ENDING, READY, service, slice},
};

const SERVICES: &str = "/apis/mesh-controller.dev/v1alpha1/meshservices";
const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/mesh/leases";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A cluster of two pods of one service, as far as routers see it.
struct World {
    api: FakeApi,
    kubeconfig: PathBuf,
    a: Instance,
    _dir: TempDir,
    _tasks: JoinSet<()>,
}

impl World {
    async fn new() -> Self {
        let (api, dir, a) = (FakeApi::default(), tempfile::tempdir().unwrap(), instance("a").await);
        api.put(SERVICES, service("web", json!({})));
        let (kubeconfig, tasks) = api.serve(dir.path()).await;
        let world = Self { api, kubeconfig, a, _dir: dir, _tasks: tasks };
        world.is(READY, 1);
        world.api.put(PODS, pod("a", false));
        world
    }

    /// The slice of pod `a`, which is served by one instance.
    fn is(&self, conditions: Conditions, revision: u64) {
        let mut slice = serde_json::to_value(slice("web", &self.a, conditions, revision)).unwrap();
        slice["endpoints"][0]["targetRef"]["kind"] = json!("Pod");
        self.api.put(SLICES, slice);
    }

    /// The pod is deleted: the API says so, and its slice after it.
    fn end(&self) {
        self.api.put(PODS, pod("a", true));
        self.is(ENDING, 2);
    }

    async fn router(&self, name: &str) -> Router {
        let words = ["--kubeconfig".as_ref(), self.kubeconfig.as_os_str(), "--name".as_ref(), name.as_ref()];
        let router = Router::start_with(&words, &[("MESH_SYSTEM_NAMESPACE", "mesh"), ("MESH_POD_IP", "127.0.0.1")]).await;
        soon("the router is ready", async {
            while get(&router, "/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        router
    }
}

fn pod(name: &str, ending: bool) -> Value {
    let mut pod =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default", "uid": format!("uid-{name}") } });
    if ending {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    pod
}

async fn get(router: &Router, path: &str) -> (u16, String) {
    let answer = Client(TcpStream::connect(router.admin).await.unwrap()).send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    (answer.status, answer.body)
}

/// The hook of pod `a`, as its kubelet runs it.
fn hook(router: &Router, timeout: &str) -> Child {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_mesh-drain"))
        .args(["wait", "--timeout", timeout])
        .env("MESH_DRAIN_ADDRESS", router.admin.to_string())
        .envs([("MESH_NAMESPACE", "default"), ("MESH_INSTANCE", "a"), ("MESH_POD_UID", "uid-a")])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What a hook says when it ends; it ends well, always.
async fn said(mut hook: Child) -> String {
    let mut text = String::new();
    hook.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(hook.wait().await.unwrap().code(), Some(0), "{text}");
    text
}

/// Whether a hook still waits after a moment; the moment is real, because it is the absence of something that is to be seen.
async fn still_waits(hook: &mut Child) -> bool {
    tokio::time::timeout(Duration::from_millis(400), hook.wait()).await.is_err()
}

async fn waiting(router: &Router) -> bool {
    !get(router, "/metrics").await.1.contains("mesh_router_drain_hooks_waiting 0")
}

async fn until_it_waits(router: &Router) {
    soon("the hook has asked", async {
        while !waiting(router).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A slow request to pod `a` through a router.
async fn slow(world: &World, router: &Router) -> Client {
    let before = world.a.served();
    let mut client = Client(TcpStream::connect(router.address).await.unwrap());
    client.write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    eventually("the slow request is there", || world.a.served() > before).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_ends_when_every_router_has_let_it_go() {
    let world = World::new().await;
    let (r1, r2) = tokio::join!(world.router("r1"), world.router("r2"));
    let mut client = slow(&world, &r2).await;
    world.end();
    let mut hook = hook(&r1, "30");
    until_it_waits(&r2).await;
    assert!(still_waits(&mut hook).await, "a request is under way at the other router");
    world.a.slow.add_permits(1);
    assert_eq!(client.read(true).await.body, "a");
    let text = soon("the hook", said(hook)).await;
    assert!(text.contains("the routers have let this pod go") && text.contains("r2"), "{text}");
    let metrics = get(&r1, "/metrics").await.1;
    assert!(metrics.contains(r#"mesh_router_drain_hooks_answered_total{from="pod"} 1"#), "{metrics}");
    assert!(get(&r2, "/metrics").await.1.contains(r#"mesh_router_drain_hooks_answered_total{from="router"} 1"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_not_ending_is_answered_at_once_and_nonsense_is_refused() {
    let world = World::new().await;
    let router = world.router("r1").await;
    for (path, status, said) in [
        ("/drain/default/a?uid=uid-a", 200, "the pod is not being deleted"),
        ("/drain/default/a?uid=uid-of-before", 200, "there is another pod of that name"),
        ("/drain/default/b?uid=uid-b", 200, "there is no such pod"),
        ("/drain/default/a", 400, "uid is missing"),
        ("/drain/default", 400, "a hook asks GET /drain/NAMESPACE/POD?uid=UID"),
        ("/elsewhere", 404, "here are"),
    ] {
        let (code, body) = soon(path, get(&router, path)).await;
        assert!(code == status && body.contains(said), "{path}: {code} {body}");
    }
    world.api.put(PODS, pod("never-ready", true));
    let (code, body) = soon("a pod that is no endpoint", get(&router, "/drain/default/never-ready?uid=uid-never-ready")).await;
    assert!(code == 200 && body.contains("no endpoint"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_cannot_be_reached_is_waited_for_as_long_as_its_lease_lives() {
    let world = World::new().await;
    let router = world.router("r1").await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "router-gone", "namespace": "mesh", "labels": { "mesh-controller.dev/router": "default" }, "annotations": { "mesh-controller.dev/drain-address": "127.0.0.1:1" } },
        "spec": { "holderIdentity": "gone", "leaseDurationSeconds": 3600, "renewTime": format!("{:.6}", mesh_controller::kit::clock::now()) },
    });
    world.api.put(LEASES, lease);
    world.end();
    let mut hook = hook(&router, "30");
    until_it_waits(&router).await;
    assert!(still_waits(&mut hook).await);
    world.api.remove(LEASES, "router-gone");
    let text = soon("the hook", said(hook)).await;
    assert!(text.contains("have let this pod go"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_answered_before_a_router_that_ends_has_ended() {
    let world = World::new().await;
    let (mut r1, r2) = tokio::join!(world.router("r1"), world.router("r2"));
    let mut client = slow(&world, &r1).await;
    world.end();
    let (mut one, mut two) = (hook(&r1, "30"), hook(&r2, "30"));
    until_it_waits(&r2).await;
    r1.signal(Signal::TERM);
    r1.says("\"ending\"").await;
    assert!(still_waits(&mut one).await && still_waits(&mut two).await, "the request is under way still");
    assert_eq!(get(&r1, "/readyz").await.0, 503);
    world.a.slow.add_permits(1);
    assert_eq!(client.read(true).await.body, "a");
    let (one, two) = soon("both hooks", async { tokio::join!(said(one), said(two)) }).await;
    assert!(one.contains("have let this pod go") && two.contains("have let this pod go"), "{one}{two}");
    assert_eq!(soon("the end", r1.child.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_for_a_hook_that_has_gone_ends_and_a_hook_ends_by_its_timeout() {
    let world = World::new().await;
    let router = world.router("r1").await;
    let _client = slow(&world, &router).await;
    world.end();
    let begun = Instant::now();
    let hook = hook(&router, "1");
    until_it_waits(&router).await;
    let text = soon("the hook", said(hook)).await;
    assert!(text.contains("it ends all the same: requests are still under way"), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    soon("nobody waits", async { while waiting(&router).await {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_router_may_not_read_is_said_once_with_its_remedy_and_asked_for_seldom() {
    let world = World::new().await;
    world.api.refuse(SLICES);
    let words = ["--kubeconfig".as_ref(), world.kubeconfig.as_os_str()];
    let mut router = Router::start_with(&words, &[("MESH_SYSTEM_NAMESPACE", "mesh")]).await;
    let line = router.says("endpointslices.discovery.k8s.io").await;
    assert!(line.contains("it may not list endpointslices.discovery.k8s.io in all namespaces: give its ServiceAccount a rule"), "{line}");
    assert_eq!(get(&router, "/readyz").await.0, 503);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = world.api.allow(SLICES);
    assert!(asked <= 4, "asked {asked} times in two seconds");
    let line = router.says("lets it watch these now").await;
    assert!(line.contains("endpointslices"), "{line}");
    let answer = Client(TcpStream::connect(router.address).await.unwrap()).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.body, "a");
}

#[test]
fn the_hook_copies_itself_and_refuses_what_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let run = |program: &std::path::Path, words: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new(program).args(words).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_mesh-drain"));
    assert_eq!(run(program, &["install".as_ref(), dir.path().as_os_str()]), (Some(0), String::new()));
    let copy = dir.path().join("mesh-drain");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left");
    let (code, text) = run(&copy, &["wait".as_ref(), "--timeout".as_ref(), "5".as_ref()]);
    assert!(code == Some(0) && text.contains("MESH_DRAIN_ADDRESS is not set; nothing is waited for"), "{text}");
    for words in [&["wait"][..], &["wait", "--timeout", "soon"], &["install"], &[], &["help"]] {
        let words: Vec<&std::ffi::OsStr> = words.iter().map(|word| (*word).as_ref()).collect();
        let (code, text) = run(&copy, &words);
        assert!(code == Some(2) && text.contains("usage: mesh-drain install DIR | mesh-drain wait --timeout SECONDS"), "{text}");
    }
    let (code, text) = run(program, &["install".as_ref(), "/nonexistent".as_ref()]);
    assert!(code == Some(1) && text.contains("install into /nonexistent: No such file"), "{text}");
}
