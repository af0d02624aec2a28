//! The agent's door in a cluster. With a node: the product as it is installed, and programs in its pods. Without one: two agents with the product's roles, and the
//! test in the place of programs: it has tokens that the API issued to pods, and says of the pods what a kubelet would.
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    cli::Terminal,
    machine::{Cluster, Namespace},
};
use mesh_gear::session::mesh;

/// Within this an agent has seen what happened.
const SOON: Duration = Duration::from_secs(3);

/// The audience of the tokens that agents take.
pub(super) const OURS: &str = "mesh-controller.dev";

/// One agent process.
pub(super) struct Agent {
    address: SocketAddr,
    child: Child,
}

impl Agent {
    /// Starts it as the service account of `deploy/`.
    pub(super) fn start(cluster: &Cluster) -> Self {
        let admin = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        Self::start_with(cluster, &admin, "agent.kubeconfig")
    }

    /// Starts one that finds the API at another address.
    pub(super) fn start_behind(cluster: &Cluster, address: SocketAddr) -> Self {
        let admin = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
        Self::start_with(cluster, &admin.replace(&api(&admin), &address.to_string()), "behind.kubeconfig")
    }

    fn start_with(cluster: &Cluster, admin: &str, file: &str) -> Self {
        let token = cluster.kubectl(&["-n", "mesh-system", "create", "token", "mesh-agent", "--duration=1h"], "");
        let users = admin.lines().find(|line| line.starts_with("users:")).unwrap();
        let kubeconfig = cluster.dir().join(file);
        std::fs::write(&kubeconfig, admin.replace(users, &format!("users: [{{name: admin, user: {{token: {token}}}}}]"))).unwrap();
        let (address, admin) = (mesh_gear::port::unused(), mesh_gear::port::unused());
        let log = File::options().create(true).append(true).open(cluster.dir().join("agent.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-controller"));
        command.args(["agent", "--listen", &address.to_string(), "--admin-listen", &admin.to_string(), "--kubeconfig"]).arg(kubeconfig);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let this = Self { address, child };
        let ready = Command::new(env!("CARGO_BIN_EXE_mesh-controller"))
            .args(["ready", "--timeout=20s", &format!("http://{admin}/readyz")])
            .output()
            .unwrap();
        assert!(ready.status.success(), "{}", String::from_utf8_lossy(&ready.stderr));
        this
    }

    /// Asks, and gives the status, the head and the body.
    pub(super) fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), serde_json::from_str(body).unwrap_or_default())
    }

    /// Asks for a stream of events.
    pub(super) fn open(&self, token: &str, path: &str, ask: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let (head, body) = (format!("POST {path} HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer {token}"), ask.to_string());
        let head = format!("{head}\r\nAccept: text/event-stream\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        stream
    }

    /// Waits for a lock that is held: what it is told first, and the stream, whose end gives up the place.
    fn queue(&self, token: &str, key: &str, ask: &Value) -> (TcpStream, Value) {
        let stream = self.open(token, &format!("/v1/locks/{key}"), ask);
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "event: queued"), "it is not told that it waits");
        let told = lines.next().unwrap();
        (stream, serde_json::from_str(told.strip_prefix("data: ").unwrap()).unwrap())
    }

    /// Takes a lock for half a minute, and gives its fence.
    pub(super) fn acquire(&self, token: &str, key: &str, wait: &str) -> u64 {
        let (status, _, lock) = self.ask(token, "POST", &format!("/v1/locks/{key}"), &json!({ "ttl": "30s", "wait": wait }).to_string());
        assert_eq!(status, 201, "{lock}");
        lock["fence"].as_u64().unwrap()
    }
}

/// Where a kubeconfig says that the API is.
pub(super) fn api(kubeconfig: &str) -> String {
    let (_, server) = kubeconfig.split_once("https://").unwrap();
    server.split(['"', '\n']).next().unwrap().to_owned()
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pod of the service `web`, as if it ran; its uid.
pub(super) fn pod(space: &Namespace<'_>, name: &str) -> String {
    made(space, name, "labels: {app.kubernetes.io/managed-by: mesh-controller, mesh-controller.dev/service: web}")
}

/// A pod with these labels or annotations.
fn made(space: &Namespace<'_>, name: &str, more: &str) -> String {
    space.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, {more}}}\nspec: {{containers: [{{name: app, image: \"quay.io/you/web:1\"}}]}}\n"
    ));
    runs(space, name, 0);
    space.kubectl(&format!("get pod {name} -o jsonpath={{.metadata.uid}}"))
}

/// The kubelet's word that its container runs, after so many restarts.
fn runs(space: &Namespace<'_>, name: &str, restarts: u32) {
    let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let app =
        json!({"name": "app", "image": "x", "imageID": "", "ready": true, "started": true, "restartCount": restarts, "state": running});
    let patch = json!({"status": {"phase": "Running", "containerStatuses": [app]}});
    space.kubectl(&format!("patch pod {name} --subresource=status --type=merge -p {patch}"));
}

/// A token of the pods' service account; `more` says for whom and of which pod.
fn token(space: &Namespace<'_>, more: &str) -> String {
    space.kubectl(&format!("create token default {more}")).trim().to_owned()
}

pub(super) fn token_of(space: &Namespace<'_>, name: &str, uid: &str, audience: &str) -> String {
    token(space, &format!("--audience={audience} --bound-object-kind=Pod --bound-object-name={name} --bound-object-uid={uid}"))
}

#[test]
fn pods_hold_locks_by_the_tokens_of_their_cluster_and_lose_them_with_their_runs() {
    let Some(cluster) = Cluster::own(&[]) else { return };
    let deploy = |file: &str| format!("{}/deploy/{file}", env!("CARGO_MANIFEST_DIR"));
    cluster.kubectl(&["apply", "-f", &deploy("default/namespace.yaml"), "-f", &deploy("rbac/rbac.yaml")], "");
    let (one, other) = (Agent::start(&cluster), Agent::start(&cluster));
    let space = cluster.namespace("agent");
    space.until("the pods' account", "get serviceaccount default -o name", |text| !text.is_empty());
    let (first, second) = (pod(&space, "web-1"), pod(&space, "web-2"));
    let (of_first, of_second) = (token_of(&space, "web-1", &first, OURS), token_of(&space, "web-2", &second, OURS));

    let (status, _, myself) = one.ask(&of_first, "GET", "/v1/self", "");
    assert_eq!((status, &myself), (200, &json!({"namespace": space.name, "service": "web", "instance": "web-1", "attempt": 0})));

    // Whoever is no pod, or speaks to somebody else, is told what would be right.
    for (bad, detail) in [
        ("x".to_owned(), "does not know the token"),
        (token_of(&space, "web-1", &first, "somebody-else"), "audiences"),
        (token(&space, "--audience=mesh-controller.dev"), "bound to no pod"),
    ] {
        let (status, head, problem) = one.ask(&bad, "GET", "/v1/self", "");
        assert_eq!(status, 401, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail) && head.contains("www-authenticate: bearer"), "{problem}");
        assert!(problem["remedy"].as_str().unwrap().contains("the audience mesh-controller.dev"), "{problem}");
    }

    // What one agent gave, the other takes back, though it has not seen it yet.
    let lease = "get leases -l mesh-controller.dev/lock=lock -o jsonpath={.items[*].spec.holderIdentity}";
    for _ in 0..20 {
        let fence = one.acquire(&of_first, "short", "5s");
        let (status, _, problem) = other.ask(&of_first, "DELETE", &format!("/v1/locks/short?fence={fence}"), "");
        assert_eq!(status, 204, "{problem}");
    }
    let fence = one.acquire(&of_first, "orders", "0s");
    assert_eq!(space.kubectl(lease), format!("web-1_{first}_0"));
    let (status, _, renewed) = other.ask(&of_first, "PUT", "/v1/locks/orders", &json!({ "fence": fence }).to_string());
    assert_eq!((status, &renewed["fence"]), (200, &json!(fence)), "{renewed}");
    let (status, _, refused) = other.ask(&of_second, "POST", "/v1/locks/orders", "{}");
    assert_eq!((status, &refused["holder"]), (409, &json!("web-1")), "{refused}");

    // With the pod its lock is gone, long before the half minute that it is good for.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| (other.acquire(&of_second, "orders", "20s"), Instant::now()));
        space.kubectl("delete pod web-1 --force --grace-period=0");
        let gone = Instant::now();
        let (next, got) = waiting.join().unwrap();
        assert!(next > fence && got.saturating_duration_since(gone) < SOON, "{next} after {fence}, {:?}", got - gone);
    });
    let (status, _, problem) = one.ask(&of_first, "GET", "/v1/self", "");
    assert_eq!(status, 401, "{problem}");

    // So it is with a restart of the container: its token is good for the next run, which does not have what the last one had.
    runs(&space, "web-2", 1);
    let again = Instant::now();
    let third = pod(&space, "web-3");
    one.acquire(&token_of(&space, "web-3", &third, OURS), "orders", "20s");
    assert!(again.elapsed() < SOON, "{:?}", again.elapsed());
    let (_, _, myself) = one.ask(&of_second, "GET", "/v1/self", "");
    assert_eq!(myself["attempt"], 1, "{myself}");

    // Who waits has its place by its ticket, whichever agent it asks next: they sign with one key.
    one.acquire(&of_second, "queue", "0s");
    let (_first, queued) = one.queue(&of_second, "queue", &json!({ "wait": "1m" }));
    let (_second, behind) = other.queue(&of_second, "queue", &json!({ "wait": "1m" }));
    assert_ne!(behind["ticket"], queued["ticket"]);
    let (_again, queued_again) = other.queue(&of_second, "queue", &json!({ "wait": "1m", "ticket": queued["ticket"] }));
    assert_eq!(queued_again, json!({ "ticket": queued["ticket"], "position": 1 }), "before {behind}");

    // The run of a task is a caller like any other, and has nothing any more once it has ended.
    let labels = "labels: {app.kubernetes.io/managed-by: mesh-controller, mesh-controller.dev/task: nightly}";
    let run = made(&space, "nightly-1", &format!("{labels}, annotations: {{mesh-controller.dev/service: web}}"));
    let of_run = token_of(&space, "nightly-1", &run, OURS);
    let (_, _, myself) = other.ask(&of_run, "GET", "/v1/self", "");
    assert_eq!(myself, json!({"namespace": space.name, "service": "web", "instance": "nightly-1", "attempt": 0}));
    let fence = one.acquire(&of_run, "ledger", "0s");
    space.kubectl("patch pod nightly-1 --subresource=status --type=merge -p {\"status\":{\"phase\":\"Succeeded\"}}");
    let ended = Instant::now();
    assert!(other.acquire(&of_second, "ledger", "20s") > fence);
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());

    // Without the API nobody is let in whom an agent does not know already.
    let unknown = token_of(&space, "web-3", &third, OURS);
    cluster.script("stop", &["apiserver"]);
    let (status, head, problem) = one.ask(&unknown, "GET", "/v1/self", "");
    assert_eq!(status, 503, "{problem}");
    assert!(head.contains("retry-after: 1"), "{head}");
    let (status, ..) = one.ask(&of_second, "GET", "/v1/self", "");
    assert_eq!(status, 200);
    cluster.script("start", &["apiserver"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while one.ask(&unknown, "GET", "/v1/self", "").0 != 200 {
        assert!(Instant::now() < deadline, "the API is back, and the agent knows nobody");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Who holds the lock `nightly`: a pod's name, its uid, and which run of it.
fn holder(space: &Namespace<'_>, right: impl Fn(&str) -> bool) -> (String, String) {
    let holder = "get leases -l mesh-controller.dev/lock=lock -o jsonpath={.items[*].spec.holderIdentity}";
    let text = space.until("the lock to be held", holder, right);
    let mut parts = text.split('_').map(str::to_owned);
    (parts.next().unwrap(), parts.next().unwrap())
}

/// Kills what the container of a pod runs.
fn kill(uid: &str) {
    let is_of =
        |pid: &str, file: &str, what: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).is_ok_and(|text| text.contains(what));
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let (cgroup, pod) = (uid.replace('-', "_"), uid);
    let program =
        |pid: &String| (is_of(pid, "cgroup", pod) || is_of(pid, "cgroup", &cgroup)) && is_of(pid, "cmdline", "/usr/local/bin/mesh\0lock");
    let pid = pids.filter(|name| name.parse::<u32>().is_ok()).find(program).expect("a process of the pod");
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

#[test]
fn programs_in_pods_hold_a_lock_one_after_the_other() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("programs");
    cluster.kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"], "");
    // There is no DNS in this cluster.
    let address = cluster.kubectl(&["-n", "mesh-system", "get", "service", "mesh-agent", "-o", "jsonpath={.spec.clusterIP}"], "");
    let waits = "/usr/local/bin/mesh-controller ready --timeout=1h http://127.0.0.1:1/x";
    let command: Vec<String> =
        format!("/usr/local/bin/mesh lock run nightly --wait 10m -- {waits}").split(' ').map(str::to_owned).collect();
    let service = json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": {"name": "worker"},
        "spec": {
            "type": "Worker", "replicas": 2, "image": "localhost/mesh-controller:test",
            "command": command,
            "kubernetes": {"podTemplate": {"spec": {"hostAliases": [{"ip": address, "hostnames": ["mesh-agent.mesh-system"]}]}}},
        },
    });
    space.apply(&service.to_string());
    let (first, uid) = holder(&space, |text| text.ends_with("_0"));
    space.until("both to run", "get pods -o jsonpath={.items[*].status.phase}", |text| text == "Running Running");
    kill(&uid);
    let killed = Instant::now();
    let (second, _) = holder(&space, |text| !text.is_empty() && !text.starts_with(&first));
    println!("after kill -9 the next one held the lock in {:?}", killed.elapsed());
    assert!(killed.elapsed() < Duration::from_secs(10), "it waited for the end of the time: {:?}", killed.elapsed());
    // The one that was killed waits again, as its second run.
    space.until("its restart", &format!("get pod {first} -o jsonpath={{.status.containerStatuses[0].restartCount}}"), |text| text == "1");
    space.kubectl(&format!("delete pod {second} --force --grace-period=0"));
    let (third, _) = holder(&space, |text| !text.is_empty() && !text.starts_with(&second));
    println!("after the pod was deleted {third} held it");
}

/// What stands for `examples/coordination`, which needs images with Python or Node: a store that takes no lower fence than it has seen, three of which one leads, and a
/// task that writes to the store while it holds the lock.
const EXAMPLE: &str = r#"
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshService
metadata: {name: worker}
spec:
  type: Worker
  replicas: 3
  image: localhost/mesh-controller:test
  command: [/usr/local/bin/mesh, leader, run, workers, --, /usr/local/bin/mesh-controller, ready, --timeout=1h, "http://127.0.0.1:1/x"]
  kubernetes: {podTemplate: {spec: {hostAliases: ALIASES}}}
---
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshService
metadata: {name: ledger}
spec:
  image: localhost/busybox:test
  imagePullPolicy: Never
  securityContext: {runAsUser: 1000}
  route: /cgi-bin
  command:
  - /bin/sh
  - -c
  - |
    mkdir -p /tmp/www/cgi-bin
    cat > /tmp/www/cgi-bin/ledger <<'END'
    #!/bin/sh
    read mine
    seen=$(cat /tmp/seen || echo 0)
    if [ "$mine" -lt "$seen" ]; then printf 'Status: 409 Conflict\r\n\r\n'; exit; fi
    echo "$mine" > /tmp/seen
    printf 'Status: 200 OK\r\n\r\ntaken\n'
    END
    chmod +x /tmp/www/cgi-bin/ledger
    exec httpd -f -p "$PORT" -h /tmp/www
  kubernetes: {podTemplate: {spec: {hostAliases: ALIASES}}}
---
apiVersion: mesh-controller.dev/v1alpha1
kind: MeshTask
metadata: {name: nightly}
spec:
  schedule: "* * * * *"
  concurrencyPolicy: Forbid
  backoffLimit: 0
  serviceRef:
    name: ledger
    command:
    - /bin/sh
    - -ec
    - |
      token=$(cat "$MESH_TOKEN_FILE")
      lock=$(wget -q -O - --header "Authorization: Bearer $token" --post-data '{"ttl":"1m","wait":"1m"}' "$MESH_AGENT/v1/locks/ledger")
      fence=$(echo "$lock" | sed 's/.*"fence":\([0-9]*\).*/\1/')
      wget -q -O - --post-data "${1:-$fence}" "$MESH_ROUTER_URL/cgi-bin/ledger"
      echo "$MESH_TASK of $MESH_SERVICE, with fence $fence"
    - nightly
"#;

#[test]
fn three_workers_have_one_leader_and_a_tasks_runs_write_under_their_lock() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("example");
    let terminal = Terminal::new(&cluster, &space);
    // There is no DNS in this cluster.
    let address = |service: &str| {
        let ip = cluster.kubectl(&["-n", "mesh-system", "get", "service", service, "-o", "jsonpath={.spec.clusterIP}"], "");
        json!({"ip": ip, "hostnames": [format!("{service}.mesh-system")]})
    };
    let aliases = json!([address("mesh-agent"), address("mesh-router")]).to_string();
    space.apply(&EXAMPLE.replace("ALIASES", &aliases));
    space.until("all to be ready", "get msvc -o jsonpath={.items[*].status.readyReplicas}", |ready| ready == "1 3");
    let leader = space.until("one to lead", "get lease workers -o jsonpath={.spec.holderIdentity}", |holder| !holder.is_empty());
    let pods = space.kubectl("get pods -l mesh-controller.dev/service=worker -o jsonpath={.items[*].metadata.name}");
    assert!(pods.split(' ').any(|pod| leader.starts_with(&format!("{pod}_"))), "{leader} of {pods}");

    // By its schedule, and when it is asked for.
    space.until("its run", "get mt nightly -o jsonpath={.status.lastSuccessfulTime}", |at| !at.is_empty());
    let run = space.kubectl("get mt nightly -o jsonpath={.status.runs[0].scheduledTime}");
    assert!(!run.is_empty(), "it is of the schedule");
    let asked = terminal.mesh("task run nightly --wait");
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    assert!(asked.stdout.starts_with("taken\nnightly of ledger, with fence "), "{}", asked.stdout);
    let lock = "get leases -l mesh-controller.dev/lock=lock -o name";
    space.until("its lock to be free", lock, str::is_empty);
    let kubeconfig = cluster.kubeconfig();
    let words = ["--kubeconfig", kubeconfig.to_str().unwrap(), "-n", &space.name, "task", "run", "nightly", "--wait", "--", "1"];
    let late = mesh(cluster.dir(), &words);
    assert!(late.code == 1 && late.stdout.contains("409 Conflict"), "a lower fence is refused: {}{}", late.stdout, late.stderr);
}
