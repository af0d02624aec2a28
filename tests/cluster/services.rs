//! A MeshService and its objects, with the controller in this process and a control plane without nodes: pods are made and never run, so that
//! each situation of a pod is written by hand.
mod autoscaling;
mod contests;
mod hooks;
mod pods;
mod trouble;

use std::{
    sync::{OnceLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use mesh_controller::{
    controller::{
        Reconciles,
        cluster_service::{self, Options},
    },
    kit::shutdown::{Shutdown, Triggered},
};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    audit::Asked,
    machine::{Cluster, Namespace},
};

/// Who the controller of these tests is.
const USER: &str = "services-controller";

/// The control plane with a controller in it, together with other tests.
fn controlled() -> Option<RwLockReadGuard<'static, Cluster>> {
    static STARTED: OnceLock<()> = OnceLock::new();
    let cluster = Cluster::control_plane()?;
    STARTED.get_or_init(|| {
        install_crds(&cluster);
        let client = client_of(&cluster, USER, "--clusterrole=cluster-admin");
        std::thread::spawn(move || control(client, options(None), Shutdown::new().0.triggered()));
    });
    Some(cluster)
}

/// Pods have a drain hook of this image, if the routers' Service is there.
fn options(drain_image: Option<&str>) -> Options {
    Options {
        system_namespace: "mesh-system".to_owned(),
        router_service: Some(("mesh-system".to_owned(), "mesh-router-drain".to_owned())),
        drain_image: drain_image.map(str::to_owned),
        door: None,
    }
}

/// Runs the controller, the leader, until it is told to end.
fn control(client: impl FnOnce() -> Client, options: Options, shutdown: Triggered) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (_leads, leading) = watch::channel(true);
        cluster_service::run(client(), options, leading, Reconciles::default(), shutdown).await.unwrap();
    });
}

fn install_crds(cluster: &Cluster) {
    cluster.kubectl(&["apply", "--server-side", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/crds")], "");
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], "");
}

/// A client that is a new service account with this role. Made in the runtime that uses it.
fn client_of(cluster: &Cluster, user: &str, role: &str) -> impl FnOnce() -> Client + Send + Clone + use<> {
    cluster.kubectl(&["-n", "default", "create", "serviceaccount", user], "");
    cluster.kubectl(&["create", "clusterrolebinding", user, role, &format!("--serviceaccount=default:{user}")], "");
    let token = cluster.kubectl(&["-n", "default", "create", "token", user, "--duration=10h"], "");
    let mut kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let account = serde_json::json!({"name": "admin", "user": {"token": token.trim()}});
    kubeconfig.auth_infos = vec![serde_json::from_value(account).unwrap()];
    move || {
        let config = futures::executor::block_on(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())).unwrap();
        Client::try_from(config).unwrap()
    }
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {{name: {name}}}\nspec: {{image: \"quay.io/you/web:1\", {spec}}}\n"
    )
}

fn get(space: &Namespace<'_>, what: &str) -> Value {
    serde_json::from_str(&space.kubectl(&format!("get {what} -o json"))).unwrap()
}

/// Waits for a reason of a condition, and gives its message.
fn told(space: &Namespace<'_>, name: &str, condition: &str, reason: &str) -> String {
    let path = |field: &str| format!("get msvc {name} -o jsonpath={{.status.conditions[?(@.type==\"{condition}\")].{field}}}");
    space.until(&format!("{name}: {condition} for the reason {reason}"), &path("reason"), |text| text == reason);
    space.kubectl(&path("message"))
}

/// Writes a part of the status of an object, as the one who is otherwise responsible for it would.
fn set_status(space: &Namespace<'_>, object: &str, status: &Value) {
    let patch = format!("{{\"status\":{}}}", serde_json::to_string(status).unwrap().replace(' ', "\\u0020"));
    space.kubectl(&format!("patch {object} --subresource=status --type=merge -p {patch}"));
}

/// What the controller has asked in a namespace since.
fn asked(cluster: &Cluster, space: &Namespace<'_>, since: Timestamp) -> Vec<Asked> {
    cluster.asked(USER, since).into_iter().filter(|asked| asked.namespace == space.name).collect()
}

/// Waits until the controller has asked nothing in the namespace for this long.
fn quiet(cluster: &Cluster, space: &Namespace<'_>, long: Duration) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let long = jiff::SignedDuration::try_from(long).unwrap();
    loop {
        let now = Timestamp::now();
        let last = asked(cluster, space, Timestamp::UNIX_EPOCH).into_iter().map(|asked| asked.at).max();
        if last.is_none_or(|last| now.duration_since(last) > long) {
            return;
        }
        assert!(Instant::now() < deadline, "no quiet: {:?}", asked(cluster, space, now - long));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_service_is_made_kept_as_it_is_and_deleted_with_all_that_belongs_to_it() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("made");
    space.apply(&service("web", "replicas: 2, port: 8080, route: /made, kubernetes: {headlessService: true}"));
    space.until("all objects", "get deploy,svc,pdb,sa -l app.kubernetes.io/name=web -o name", |text| text.lines().count() == 5);
    told(&space, "web", "Ready", "Unschedulable");
    let status = get(&space, "msvc web")["status"].clone();
    assert_eq!((&status["ready"], &status["replicas"], &status["observedGeneration"]), (&"0/2".into(), &2.into(), &1.into()), "{status}");
    assert_eq!(status["selector"], "mesh-controller.dev/service=web");

    // What was changed or deleted by hand comes back.
    space.kubectl("set image deploy/web app=evil:1");
    space.until("the image to be put back", "get deploy web -o jsonpath={..image}", |text| text == "quay.io/you/web:1");
    space.kubectl("scale deploy web --replicas=5");
    space.until("the number to be put back", "get deploy web -o jsonpath={.spec.replicas}", |text| text == "2");
    for kind in ["svc", "pdb", "sa", "deploy"] {
        let uid = get(&space, &format!("{kind} web"))["metadata"]["uid"].as_str().unwrap().to_owned();
        space.kubectl(&format!("delete {kind} web"));
        let words = format!("get {kind} web -o jsonpath={{.metadata.uid}} --ignore-not-found");
        space.until(&format!("a new {kind}"), &words, |text| !text.is_empty() && text != uid);
    }

    // What is not needed any more goes; what others have added stays.
    space.kubectl("annotate deploy web somebody.else/note=kept");
    space.kubectl("label svc web somebody.else/label=kept");
    space.apply(&service("web", "replicas: 1, port: 8080, route: /made"));
    space.until("budget and headless Service to go", "get pdb,svc -o name", |text| text.trim() == "service/web");
    space.until("the scale", "get deploy web -o jsonpath={.spec.replicas}", |text| text == "1");
    assert_eq!(get(&space, "deploy web")["metadata"]["annotations"]["somebody.else/note"], "kept");
    assert_eq!(get(&space, "svc web")["metadata"]["labels"]["somebody.else/label"], "kept");

    space.kubectl("delete msvc web");
    let left = "get deploy,svc,pdb,sa,pods,endpointslices -l mesh-controller.dev/service=web -o name";
    space.until("everything to go", left, |text| text.trim().is_empty());
}

#[test]
fn a_service_that_is_as_it_should_be_costs_no_request() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("steady");
    let many: Vec<String> = (0..5).map(|n| service(&format!("s{n}"), &format!("replicas: 2, route: /steady-{n}"))).collect();
    space.apply(&many.join("---\n"));
    for n in 0..5 {
        told(&space, &format!("s{n}"), "Ready", "Unschedulable");
    }
    quiet(&cluster, &space, Duration::from_secs(5));
    let all = asked(&cluster, &space, Timestamp::UNIX_EPOCH);
    let applied = |resource: &str| all.iter().filter(|asked| asked.resource == resource && asked.verb == "patch").count();
    assert_eq!((applied("deployments"), applied("services"), applied("serviceaccounts")), (5, 5, 5), "each is written once");

    // Nor does a look at everything, as after a list from the beginning: a label that nobody reads.
    let before = Timestamp::now();
    space.kubectl("label msvc --all somebody.else/label=1");
    space.kubectl("label deploy --all somebody.else/label=1");
    std::thread::sleep(Duration::from_secs(3));
    let found = asked(&cluster, &space, before);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn routes_belong_to_the_older_service_until_it_goes() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("routes");
    space.apply(&service("first", "route: /contested-route"));
    told(&space, "first", "RoutesAccepted", "Accepted");
    std::thread::sleep(Duration::from_millis(1100));
    space.apply(&service("second", "route: /contested-route"));
    let message = told(&space, "second", "RoutesAccepted", "RouteConflict");
    assert!(message.contains(&format!("{}/first", space.name)), "{message}");
    space.kubectl("delete msvc first");
    told(&space, "second", "RoutesAccepted", "Accepted");
}

#[test]
fn a_service_that_came_from_a_machine_is_let_go() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("moved");
    let moved = service("web", "replicas: 1").replace("{name: web}", "{name: web, finalizers: [mesh-controller.dev/drain]}");
    space.apply(&moved);
    told(&space, "web", "Ready", "Unschedulable");
    space.kubectl("delete msvc web --timeout=30s");
}
