//! The example shop as it is, in the cluster: applied, asked through the routers, scaled, rolled, rolled back, deleted.
use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    machine::Cluster,
    product::{ready, shop},
};
use mesh_gear::load::{self, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_of_one_machine_runs_unchanged() {
    let Some(cluster) = Cluster::with_node() else { return };
    let space = cluster.namespace("shop");
    cluster.kubectl(&["label", "namespace", &space.name, "pod-security.kubernetes.io/enforce=restricted"], "");
    let shop = shop();
    space.apply(&shop);
    ready(&space);
    let router = cluster.router();
    assert_eq!(get(router, "/").await.unwrap().0, 200);
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let (status, body) = get(router, "/api").await.unwrap();
        assert_eq!(status, 200, "{body}");
        seen.insert(load::instance(&body));
    }
    let pods = space.kubectl("get pods -l mesh-controller.dev/service=backend -o name");
    assert!(seen.len() == 3 && seen.iter().all(|id| pods.contains(id.as_str())), "{seen:?} are not {pods}");

    // kubectl scale and the HorizontalPodAutoscaler use the same subresource.
    space.kubectl("scale msvc backend --replicas=5");
    space.until("five backends", "get msvc backend -o jsonpath={.status.ready}", |text| text == "5/5");
    let greeting = async || {
        let (_, body) = get(router, "/api").await.unwrap();
        serde_json::from_str::<Value>(&body).unwrap()["greeting"].as_str().unwrap().to_owned()
    };
    let first = space.kubectl("get msvc backend -o jsonpath={.status.currentRevision}");
    space.apply(&shop.replace("welcome", "hello again").replace("replicas: 3", "replicas: 2"));
    space.until("the new revision", "get msvc backend -o jsonpath={.status.currentRevision}", |text| text != first);
    ready(&space);
    assert_eq!(greeting().await, "hello again");
    space.apply(&shop);
    ready(&space);
    assert_eq!(greeting().await, "welcome");
    assert_eq!(space.kubectl("get msvc backend -o jsonpath={.status.currentRevision}"), first, "the old spec has the old revision");
    assert_eq!(
        space.kubectl("get rs -l mesh-controller.dev/service=backend -o name").lines().count(),
        2,
        "the old ReplicaSet is used again"
    );

    space.kubectl("delete msvc --all");
    let left = "get deploy,rs,pods,svc,pdb,sa,endpointslices -l app.kubernetes.io/managed-by=mesh-controller -o name";
    space.until("nothing to be left", left, str::is_empty);
    assert_eq!(get(router, "/api").await.unwrap().0, 404);
}
