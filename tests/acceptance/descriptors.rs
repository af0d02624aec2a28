//! The real binary without file descriptors: taken by connections that ask nothing, or by a limit below what it has open. What it lacks is never the fault of
//! what it looks after, is told while it lasts, and is over when there are some again.
use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use serde_json::{Value, json};
use tokio::{net::TcpStream, time::Instant};

use mesh_gear::{
    client::Client,
    controller::{self, Controller, until},
    load,
};

const LIMIT: u64 = 256;
/// Fewer than are open at rest: each new one fails.
const NONE: u64 = 16;

/// Two instances behind the router that one failure would make unready, or end. Whoever makes the file of that name makes their readiness fail.
fn spec(unready: &Path) -> Value {
    let quick = |how: Value| {
        let mut probe = json!({ "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10 });
        probe.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
        probe
    };
    json!({
        "replicas": 2,
        "route": "/api",
        "readinessProbe": quick(json!({ "exec": { "command": ["test", "!", "-e", unready] } })),
        "livenessProbe": quick(json!({ "httpGet": { "path": "/api/health" } })),
    })
}

/// The instances of a service as they are: uid, process, restarts, whether they are ready.
fn instances(controller: &Controller, service: &str) -> Vec<Value> {
    let list = controller.json(&["get", "mi", "-l", &format!("mesh-controller.dev/service={service}")]);
    let status = |item: &Value| {
        let ready = item["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Ready").unwrap();
        json!([item["metadata"]["uid"], item["status"]["pid"], item["status"]["restartCount"], ready["status"]])
    };
    list["items"].as_array().unwrap().iter().map(status).collect()
}

/// A client that keeps its connection.
async fn connected(address: SocketAddr) -> Client {
    Client(TcpStream::connect(address).await.unwrap())
}

async fn ask(client: &mut Client, path: &str) -> (u16, String) {
    let answer = client.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
    (answer.status, answer.body)
}

/// A metric on the admin port, all its labels together.
async fn metric(admin: &mut Client, name: &str) -> u64 {
    let (_, text) = ask(admin, "/metrics").await;
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ask_nothing_leave_enough_for_all_else_at_every_port() {
    let controller = Controller::start_under(LIMIT).await;
    let dir = tempfile::tempdir().unwrap();
    let unready = dir.path().join("unready");
    controller.apply("api", &spec(&unready)).await;
    let before = instances(&controller, "api");
    let mut client = connected(controller.router).await;
    let mut idle = Vec::new();
    for port in [controller.router, controller.api, controller.admin] {
        for _ in 0..LIMIT {
            idle.push(TcpStream::connect(port).await.unwrap());
            if idle.len() % 8 == 0 {
                assert_eq!(ask(&mut client, "/api").await.0, 200);
            }
        }
    }
    let mut admin = connected(controller.admin).await;
    until("the router to have no place left", async || {
        let (taken, places) =
            (metric(&mut admin, "mesh_router_connections").await, metric(&mut admin, "mesh_router_connections_limit").await);
        (places < LIMIT && taken >= places).then_some(())
    })
    .await;
    // Probes and starts, which each need several.
    let told = async |ready: &str| {
        until("the probes to see it", async || instances(&controller, "api").iter().all(|one| one[3] == ready).then_some(())).await;
    };
    fs::write(&unready, "").unwrap();
    told("False").await;
    fs::remove_file(&unready).unwrap();
    told("True").await;
    controller.apply("more", &json!({ "route": "/more", "healthPath": "/api/health" })).await;
    controller.kubectl(&["scale", "msvc", "api", "--replicas=3"]);
    controller.settled("api", 3).await;
    // Other clients, and this one.
    assert_eq!(load::get(controller.router, "/api").await.unwrap().0, 200);
    assert_eq!(ask(&mut client, "/api").await.0, 200);
    assert_eq!(controller.admin("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(controller.kubectl(&["get", "--raw", "/readyz"]), "ok");
    assert_eq!(metric(&mut admin, "mesh_probes_unknown_total").await, 0);
    let after = instances(&controller, "api");
    assert!(before.iter().all(|one| after.contains(one)), "{before:?} became {after:?}");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routers_idle_connections_give_way_to_whatever_lacks_a_descriptor() {
    let controller = Controller::start_under(LIMIT).await;
    let dir = tempfile::tempdir().unwrap();
    controller.apply("api", &spec(&dir.path().join("unready"))).await;
    let before = instances(&controller, "api");
    let mut admin = connected(controller.admin).await;
    leave(&controller, 40);
    let mut idle = Vec::new();
    for _ in 0..36 {
        idle.push(TcpStream::connect(controller.router).await.unwrap());
    }
    until("the router to see that too few are left", async || {
        (metric(&mut admin, "mesh_router_descriptors_lacked_total").await > 0).then_some(())
    })
    .await;
    controller.kubectl(&["scale", "msvc", "api", "--replicas=3"]);
    controller.settled("api", 3).await;
    let after = instances(&controller, "api");
    assert!(before.iter().all(|one| after.contains(one)), "{before:?} became {after:?}");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_none_is_left_nobody_is_blamed_and_it_is_told_and_then_all_goes_on() {
    let controller = Controller::start_under(LIMIT).await;
    let dir = tempfile::tempdir().unwrap();
    controller.apply("api", &spec(&dir.path().join("unready"))).await;
    controller.apply("ends", &json!({ "healthPath": "/api/health" })).await;
    let (process, before) = (controller.pid(), instances(&controller, "api"));
    let ends = instances(&controller, "ends").remove(0);
    let watch = controller.watch_instances(
        r#"{.metadata.labels.mesh-controller\.dev/service} {.status.restartCount} {.status.conditions[0].status} {.status.conditions[0].reason} {.status.conditions[0].message}{"\n"}"#,
    );
    until("the watch to begin", async || (watch.shown().lines().count() >= 3).then_some(())).await;
    let (mut client, mut admin) = (connected(controller.router).await, connected(controller.admin).await);
    let mut seen = BTreeSet::new();
    until("both instances to have answered this client", async || {
        let (status, body) = ask(&mut client, "/api").await;
        assert_eq!(status, 200, "{body}");
        seen.insert(load::instance(&body));
        (seen.len() == 2).then_some(())
    })
    .await;

    controller.limit_descriptors(NONE);
    controller::kill(ends[1].as_i64().unwrap(), "-9");
    // Each probe of each instance several times.
    until("probes that cannot be made", async || {
        assert_eq!(ask(&mut client, "/api").await.0, 200, "who is connected goes on");
        (metric(&mut admin, "mesh_probes_unknown_total").await >= 8).then_some(())
    })
    .await;
    let (status, said) = ask(&mut admin, "/readyz").await;
    assert!(status == 503 && said.contains("limit of file descriptors is 16"), "{status}: {said}");
    assert!(metric(&mut admin, "mesh_router_descriptors_lacked_total").await > 0);
    // They wait at all ports, and cost nothing meanwhile.
    let mut waiting = Vec::new();
    for port in [controller.router, controller.api, controller.admin] {
        waiting.push(TcpStream::connect(port).await.unwrap());
    }
    let (began, spent) = (Instant::now(), controller.cpu_seconds());
    let unknown = metric(&mut admin, "mesh_probes_unknown_total").await;
    until("more probes", async || (metric(&mut admin, "mesh_probes_unknown_total").await >= unknown + 8).then_some(())).await;
    let (spent, lasted) = (controller.cpu_seconds() - spent, began.elapsed().as_secs_f64());
    assert!(spent < lasted / 3.0, "{spent} s of the processor in {lasted} s");
    drop(waiting);

    // Enough for kubectl, and not for a start.
    leave(&controller, 2);
    controller.kubectl(&["scale", "msvc", "api", "--replicas=3"]);
    until("the start that cannot be made", async || {
        let shown = watch.shown();
        let told = |service: &str| shown.lines().any(|line| line.starts_with(&format!("{service} ")) && line.contains("NodeExhausted"));
        (told("api") && told("ends")).then_some(())
    })
    .await;

    controller.limit_descriptors(LIMIT);
    controller.settled("api", 3).await;
    controller.settled("ends", 1).await;
    let after = instances(&controller, "api");
    assert!(before.iter().all(|one| after.contains(one)), "{before:?} became {after:?}");
    assert!(after.iter().all(|one| one[2] == 0), "{after:?}");
    let ended = controller.json(&["get", "mi", "-l", "mesh-controller.dev/service=ends"])["items"][0]["status"].clone();
    assert_eq!((&ended["restartCount"], &ended["lastExit"]["signal"]), (&json!(1), &json!(9)), "{ended}");
    assert_eq!(controller.pid(), process);
    until("the controller to be ready again", async || (controller.admin("/readyz").await.0 == 200).then_some(())).await;
    assert_eq!(load::get(controller.router, "/api").await.unwrap().0, 200);
    controller.apply("new", &json!({ "route": "/new", "healthPath": "/api/health" })).await;

    let shown = watch.shown();
    let of_api: Vec<&str> = shown.lines().filter(|line| line.starts_with("api 0 ")).collect();
    assert!(of_api.iter().any(|line| line.contains("no fault of the instance") && line.contains("Too many open files")), "{shown}");
    assert!(!of_api.iter().any(|line| line.contains("ReadinessProbeFailed") || line.contains("Unhealthy")), "{shown}");
    let events = controller.kubectl(&["get", "events", "-o", "custom-columns=R:.reason,K:.involvedObject.kind,M:.message"]);
    for reason in ["ProbeUnknown", "NodeExhausted"] {
        let told = |line: &str| line.starts_with(reason) && line.contains("MeshInstance") && line.contains("Too many open files");
        assert!(events.lines().any(told), "{reason} is not in\n{events}");
    }
    assert!(!events.contains("Unhealthy"), "{events}");
}

/// Lets so many more be opened, and no more.
fn leave(controller: &Controller, free: usize) {
    let open = controller.descriptors();
    let limit = (0..).filter(|number| !open.contains(number)).nth(free).unwrap();
    controller.limit_descriptors(limit);
}
