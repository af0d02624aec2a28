//! The charts instead of deploy/: installed with helm into another namespace, tested, used, taken away.
use std::{net::SocketAddr, path::PathBuf};

use super::{
    machine::Cluster,
    product::{DEPLOY, ready, shop},
};
use mesh_gear::{load::get, machine::cache};

const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts");

impl Cluster {
    fn helm(&self, words: &str) -> String {
        let helm: PathBuf = cache().join("helm/helm");
        let words: Vec<&str> = words.split_whitespace().collect();
        let output = self.command(&helm, &words, "");
        assert!(output.status.success(), "helm {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_charts_bring_up_the_same_and_leave_nothing() {
    let Some(cluster) = Cluster::alone() else { return };
    cluster.kubectl(&["delete", "-f", DEPLOY, "--ignore-not-found", "--timeout=90s"], "");
    cluster.helm(&format!("install crds {CHARTS}/mesh-controller-crds --wait"));
    let notes = cluster.helm(&format!("install shop {CHARTS}/mesh-controller --namespace meshes --create-namespace --wait --timeout 90s"));
    assert!(notes.contains("mesh-controller"), "{notes}");
    // What `helm test` runs, but by an address: this cluster has no DNS for the names in the chart's test pod.
    let drain = cluster
        .kubectl(&["-n", "meshes", "get", "services", "-o", "jsonpath={.items[?(@.spec.ports[0].name==\"drain\")].spec.clusterIP}"], "");
    let pod = cluster.kubectl(
        &["-n", "meshes", "get", "pods", "-l", "app.kubernetes.io/component=router", "-o", "jsonpath={.items[0].metadata.name}"],
        "",
    );
    let url = format!("http://{drain}:9464/readyz");
    cluster.kubectl(&["-n", "meshes", "exec", &pod, "--", "/usr/local/bin/mesh-controller", "ready", &url], "");

    let space = cluster.namespace("helm");
    space.apply(&shop());
    ready(&space);
    let router = "jsonpath={.items[?(@.spec.ports[0].name==\"http\")].spec.clusterIP}";
    let ip = cluster.kubectl(&["-n", "meshes", "get", "services", "-l", "app.kubernetes.io/component=router", "-o", router], "");
    assert_eq!(get(SocketAddr::new(ip.parse().unwrap(), 80), "/api").await.unwrap().0, 200);
    space.kubectl("delete msvc --all");
    space.until("nothing to be left", "get deploy,pods,svc -l app.kubernetes.io/managed-by=mesh-controller -o name", str::is_empty);

    cluster.helm("uninstall shop --namespace meshes --wait");
    let left = "get clusterroles,clusterrolebindings -l app.kubernetes.io/instance=shop -o name";
    assert_eq!(cluster.kubectl(&left.split(' ').collect::<Vec<_>>(), ""), "");
    cluster.until(
        "the namespace to be empty",
        &["-n", "meshes", "get", "deploy,pods,svc,sa", "-l", "app.kubernetes.io/instance=shop", "-o", "name"],
        str::is_empty,
    );
    // Definitions outlive their chart, because all services would go with them.
    cluster.helm("uninstall crds");
    assert!(cluster.kubectl(&["get", "crd", "-o", "name"], "").contains("meshservices.mesh-controller.dev"));
    cluster.install();
}
