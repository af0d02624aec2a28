//! 1,000 services with 5,000 endpoints in a real cluster (etcd and kube-apiserver; no pods, the slices are written): how long until all are converged,
//! what controller and router ask of the API at rest, what they keep in memory, and how soon a changed endpoint counts.
#![expect(clippy::indexing_slicing, reason = "of JSON that the benchmark has made itself, where a missing field is null")]
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Config,
    api::{ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use mesh_controller::api::MeshService;
use mesh_gear::port;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    controller::{get, wait},
    endpoints::first_requests,
    proc::{cpu_seconds, rss_mib},
    table::{Table, percentile},
};

const SERVICES: usize = 1000;
const ENDPOINTS: usize = 5;
const AT_ONCE: usize = 32;
const LIMIT: Duration = Duration::from_secs(300);
const REST: Duration = Duration::from_secs(30);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube/cluster.sh");

pub(crate) async fn run() -> Result<Table> {
    let mut table = Table::new("1,000 services with 5,000 endpoints in a cluster");
    let cluster = Cluster::start()?;
    let client = cluster.client().await?;
    cluster.install(&client).await?;
    let services = (0..SERVICES).map(service);
    write_all::<MeshService>(&client, "default", services).await?;

    let admin = port::unused();
    let begin = Instant::now();
    let controller = cluster.program(&["--backend", "kubernetes", "--admin-listen", &admin.to_string()])?;
    converged(&client).await?;
    let ours = begin.elapsed().as_secs_f64();
    let peer = cluster.applied_by_kubectl(&client).await?;
    table.row(
        "start of the controller to all objects written",
        format!("{ours:.1} s"),
        format!("{peer:.1} s for kubectl apply --server-side of the same objects: {:.2} times", ours / peer),
    );

    write_all::<EndpointSlice>(&client, "default", (0..SERVICES).map(slice)).await?;
    let (listen, admin) = (port::unused(), port::unused());
    let begin = Instant::now();
    let router = cluster.program(&["router", "--router-listen", &listen.to_string(), "--admin-listen", &admin.to_string()])?;
    wait(LIMIT, "the router to be ready", async || Ok(get(admin, "/readyz").await.is_ok_and(|status| status == 200))).await?;
    table.row("start of a router to its first table", format!("{:.2} s", begin.elapsed().as_secs_f64()), "");

    sleep(Duration::from_secs(10)).await;
    let (requests, cpu) = (cluster.requests()?, [cpu_seconds(controller.0.id())?, cpu_seconds(router.0.id())?]);
    sleep(REST).await;
    let seconds = REST.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let rate = (cluster.requests()? - requests) as f64 / seconds;
    table.row("requests to the API at rest, both", format!("{rate:.2} /s"), "leases only: one each 2 s, one each 5 s");
    for (name, child, before) in [("controller", &controller, cpu[0]), ("router", &router, cpu[1])] {
        let share = (cpu_seconds(child.0.id())? - before) / seconds * 100.0;
        table.row(format!("{name} at rest"), format!("{share:.2} % of a core, {:.1} MiB RSS", rss_mib(child.0.id())?), "");
    }
    let mut times = changed_endpoints(&client, listen).await?;
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    table.row(
        format!("EndpointSlice commit to first request, p50 and p99 of {}", times.len()),
        format!("{p50:.2} ms, {p99:.2} ms"),
        "p99 under 100 ms",
    );
    Ok(table)
}

/// From the commit of one slice among all to the first request that follows it.
async fn changed_endpoints(client: &Client, router: SocketAddr) -> Result<Vec<f64>> {
    // An API server takes no loopback address for an endpoint.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0")?;
    probe.connect("192.0.2.1:9")?;
    let port = SocketAddr::new(probe.local_addr()?.ip(), port::unused().port());
    let origin = Running(
        Command::new(std::env::current_exe()?)
            .arg("origin")
            .env("PORT", port.port().to_string())
            .env("HOST", "0.0.0.0")
            .stdin(Stdio::null())
            .spawn()?,
    );
    let mut late = service(SERVICES);
    late["metadata"]["name"] = json!("late");
    late["spec"]["route"] = json!("/late");
    write_all::<MeshService>(client, "default", [late].into_iter()).await?;
    wait(Duration::from_secs(10), "the route", async || Ok(get(router, "/late").await? == 503)).await?;
    let times = first_requests(&Api::default_namespaced(client.clone()), router, port, 300).await;
    drop(origin);
    times
}

fn service(index: usize) -> Value {
    json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService",
        "metadata": { "name": format!("svc-{index}") },
        "spec": { "image": "example.invalid/app:1", "replicas": ENDPOINTS, "route": format!("/svc-{index}") },
    })
}

fn slice(index: usize) -> Value {
    let endpoint = |n: usize| {
        let (name, address) = (format!("svc-{index}-{n}"), format!("10.{}.{}.{}", n + 1, index / 250, index % 250 + 1));
        json!({
            "addresses": [address], "conditions": { "ready": true, "serving": true, "terminating": false }, "nodeName": "node1",
            "targetRef": { "kind": "Pod", "namespace": "default", "name": name, "uid": format!("uid-{name}") },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("svc-{index}-bench"),
            "labels": { "kubernetes.io/service-name": format!("svc-{index}"), "app.kubernetes.io/managed-by": "mesh-controller", "mesh-controller.dev/service": format!("svc-{index}") },
        },
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

async fn write_all<K>(client: &Client, namespace: &str, objects: impl Iterator<Item = Value>) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: &Api<K> = &Api::namespaced(client.clone(), namespace);
    let write = |object: Value| async move {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(&object)).await.map(drop)
    };
    stream::iter(objects).map(Ok).try_for_each_concurrent(AT_ONCE, write).await?;
    Ok(())
}

/// Until every service has its Deployment and says that it was seen.
async fn converged(client: &Client) -> Result<()> {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let services: Api<MeshService> = Api::default_namespaced(client.clone());
    let deadline = Instant::now() + LIMIT;
    loop {
        let made = deployments.list_metadata(&ListParams::default()).await?.items.len();
        if made >= SERVICES {
            let all = services.list(&ListParams::default()).await?;
            if all.iter().all(|service| service.status.as_ref().is_some_and(|status| status.observed_generation.is_some())) {
                return Ok(());
            }
        }
        ensure!(Instant::now() < deadline, "{made} Deployments of {SERVICES} after {LIMIT:?}");
        sleep(Duration::from_millis(250)).await;
    }
}

/// A process that ends with its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// etcd and kube-apiserver, gone with the value.
struct Cluster {
    dir: PathBuf,
    _session: Child,
}

impl Cluster {
    fn start() -> Result<Self> {
        let mut session = Command::new(SCRIPT)
            .args(["session", "--no-controllers"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context(SCRIPT)?;
        let mut dir = String::new();
        BufReader::new(session.stdout.take().context("no output")?).read_line(&mut dir)?;
        ensure!(dir.ends_with('\n'), "{SCRIPT} started no cluster");
        Ok(Self { dir: PathBuf::from(dir.trim_end()), _session: session })
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    async fn client(&self) -> Result<Client> {
        let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(self.kubeconfig())?, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// The kinds, and the namespace of the mesh itself.
    async fn install(&self, client: &Client) -> Result<()> {
        self.kubectl(&["create", "namespace", "mesh-system"])?;
        self.kubectl(&["apply", "--server-side", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")])?;
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
        let services: Api<MeshService> = Api::default_namespaced(client.clone());
        wait(Duration::from_secs(10), "the kinds to be served", async || Ok(services.list(&ListParams::default()).await.is_ok())).await
    }

    fn kubectl(&self, args: &[&str]) -> Result<Vec<u8>> {
        let kubectl = std::env::var_os("KUBEBUILDER_ASSETS").map_or_else(|| home(".cache/meshtest/kube"), PathBuf::from).join("kubectl");
        let output = Command::new(kubectl).arg("--kubeconfig").arg(self.kubeconfig()).args(args).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    fn program(&self, args: &[&str]) -> Result<Running> {
        let log =
            std::fs::File::create(self.dir.join(format!("bench-{}.log", args.first().map_or("", |arg| arg.trim_start_matches('-')))))?;
        let child = Command::new(env!("CARGO_BIN_EXE_mesh-controller"))
            .args(args)
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .env("MESH_SYSTEM_NAMESPACE", "mesh-system")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Running(child))
    }

    /// What our programs have asked of the API so far.
    fn requests(&self) -> Result<usize> {
        let log = std::fs::read_to_string(self.dir.join("audit.log"))?;
        Ok(log
            .lines()
            .filter(|line| {
                line.contains("\"username\":\"admin\"")
                    && !line.contains("\"userAgent\":\"kube-")
                    && !line.contains("\"userAgent\":\"kubectl")
            })
            .count())
    }

    /// How long kubectl takes to write the objects that the controller has made, in another namespace.
    async fn applied_by_kubectl(&self, client: &Client) -> Result<f64> {
        self.kubectl(&["create", "namespace", "peer"])?;
        let mut all = Vec::new();
        for kind in ["serviceaccounts", "services", "deployments", "poddisruptionbudgets"] {
            let list: Value = serde_json::from_slice(&self.kubectl(&["get", kind, "-o", "json"])?)?;
            for object in list["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|object| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("svc-")))
            {
                all.push(plain(object));
            }
        }
        ensure!(all.len() >= 2 * SERVICES, "only {} objects were made", all.len());
        let file = self.dir.join("peer.json");
        std::fs::write(&file, serde_json::to_vec(&json!({ "apiVersion": "v1", "kind": "List", "items": all }))?)?;
        let begin = Instant::now();
        self.kubectl(&["-n", "peer", "apply", "--server-side", "-f", path(&file)?])?;
        let seconds = begin.elapsed().as_secs_f64();
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), "peer");
        ensure!(deployments.list_metadata(&ListParams::default()).await?.items.len() >= SERVICES, "kubectl did not write all");
        self.kubectl(&["delete", "namespace", "peer", "--wait=false"])?;
        Ok(seconds)
    }
}

fn path(file: &Path) -> Result<&str> {
    file.to_str().context("a path of UTF-8")
}

fn home(below: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(below)
}

/// The object as somebody would have written it.
fn plain(object: &Value) -> Value {
    let mut plain = object.clone();
    if let Some(object) = plain.as_object_mut() {
        object.remove("status");
    }
    plain["metadata"] = json!({ "name": object["metadata"]["name"], "labels": object["metadata"]["labels"] });
    for field in ["clusterIP", "clusterIPs"] {
        if let Some(spec) = plain.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove(field);
        }
    }
    plain
}
