//! The API server is away for a minute, etcd forgets its history and the node is not heard of: traffic goes on, and what follows is no storm.
use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use rustix::process::Signal;

use super::{
    machine::Cluster,
    product::{ready, shop},
};
use mesh_gear::load::Load;

const AWAY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_the_api_server_is_not_noticed_by_traffic_and_not_followed_by_a_storm() {
    let Some(cluster) = Cluster::alone() else { return };
    let space = cluster.namespace("outage");
    space.apply(&shop());
    ready(&space);
    let load = Load::start(cluster.router(), "/api", 4);
    load.requests(100).await;
    // With this a cluster that is back calls every pod unready: it waits 50 s for a node's word, and the minute was too long.
    cluster.signal("node/kubelet", Signal::STOP);
    cluster.script("stop", &["apiserver"]);
    tokio::time::sleep(AWAY / 2).await;
    cluster.script("compact", &[]);
    tokio::time::sleep(AWAY / 2).await;
    let back = Timestamp::now();
    cluster.script("start", &["apiserver"]);
    let ready = "get endpointslices -o jsonpath={..conditions.ready}";
    space.until("the cluster to give the pods up", ready, |ready| !ready.contains("true"));
    load.requests(100).await;
    cluster.signal("node/kubelet", Signal::CONT);
    space.until("the pods to be known again", ready, |ready| !ready.contains("false"));
    space.kubectl("scale msvc backend --replicas=4");
    space.until("the scaling", "get msvc backend -o jsonpath={.status.ready}", |text| text == "4/4");
    load.requests(100).await;
    load.stop().await.expect_no_failures();
    let mut asked: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for user in ["mesh-system:mesh-controller", "mesh-system:mesh-router"] {
        for one in cluster.asked(user, back).into_iter().filter(|one| matches!(one.verb.as_str(), "list" | "watch" | "get")) {
            *asked.entry((one.user, one.verb, one.resource)).or_default() += 1;
        }
    }
    println!("after the API server was back: {asked:#?}");
    for ((user, verb, resource), count) in &asked {
        // Two processes of each; one more list than a restart needs would be a loop.
        let most = match verb.as_str() {
            "list" => 4,
            _ => 12,
        };
        assert!(*count <= most || resource == "leases", "{user}: {verb} {resource} {count} times");
    }
}
