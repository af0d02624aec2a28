//! `mesh-controller router` beside a controller: it follows that one's API, and counts in its drains.
use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;

use super::standalone::Router;
use mesh_gear::{
    controller::{Controller, until},
    load,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_of_its_own_follows_a_controllers_api_until_it_is_told_to_end() {
    let controller = Controller::start().await;
    let router = Router::start("--kubeconfig", format!("{}/kubeconfig", controller.state_dir())).await;
    controller.apply("api", &json!({ "replicas": 2, "route": "/api", "healthPath": "/api/health" })).await;
    let asked = async || load::get(router.address, "/api").await.is_ok_and(|(status, _)| status == 200).then_some(());
    until("the second router to learn of it", asked).await;
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        seen.insert(load::instance(&load::get(router.address, "/api").await.unwrap().1));
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let leases = || controller.kubectl(&["get", "leases", "-n", "mesh-system", "-l", "mesh-controller.dev/router=default", "-o", "name"]);
    assert_eq!(leases().lines().count(), 2, "one of the controller's own router, one of this: {}", leases());

    // It is asked for its word before an instance goes, and gives it.
    let drains = controller.watch_drains();
    controller.kubectl(&["scale", "msvc", "api", "--replicas=1"]);
    controller.settled("api", 1).await;
    assert_eq!(drains.stop(), 1);
    assert_eq!(load::get(router.address, "/api").await.unwrap().0, 200);

    router.signal(Signal::TERM);
    until("its lease to be given back", async || (leases().lines().count() == 1).then_some(())).await;
}
