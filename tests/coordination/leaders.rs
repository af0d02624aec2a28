//! Leaders, with whatever else takes part by a Kubernetes client.
use std::time::Duration;

use mesh_controller_sdk::Options;
use mesh_gear::client::soon;
use serde_json::json;

use crate::{raw::Events, rig::Rig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_group_leads_and_whoever_looks_on_sees_each_change() {
    let rig = Rig::start(2).await;
    let [one, other] = &rig.workers()[..] else { panic!() };
    let token = std::fs::read_to_string(&other.token).unwrap();
    let mut seen = Events::open(&rig.socket(), &token, "GET", "/v1/leaders/scheduler", "").await;
    assert_eq!(soon("nobody", seen.next()).await.unwrap().0, "none");
    let leads = one.mesh.leaders().acquire("scheduler", &Options::default()).await.unwrap();
    let (name, leader) = soon("a leader", seen.next()).await.unwrap();
    assert_eq!((name.as_str(), leader["holder"].as_str(), leader["group"].as_str()), ("leader", Some(&*one.name), Some("scheduler")));
    assert_eq!(rig.leases()[0].0, "scheduler", "a group's Lease has its name, for other clients");
    leads.release().await;
    assert_eq!(soon("nobody", seen.next()).await.unwrap().0, "none");
    assert!(other.mesh.leaders().list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_a_kubernetes_client_is_waited_for_until_it_is_silent_for_its_time() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    // Its clock is another's, and counts for nothing.
    let micro = "2001-01-01T00:00:00.000000Z";
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "scheduler" },
        "spec": { "holderIdentity": "elsewhere_3fd1", "leaseDurationSeconds": 2, "acquireTime": micro, "renewTime": micro, "leaseTransitions": 4 },
    });
    rig.controller.kubectl(&["create", "-f", &rig.controller.write("lease.json", &lease)]);
    assert!(worker.mesh.leaders().try_acquire("scheduler", &Options::default()).await.unwrap().is_none());
    let options = Options { wait: None, ttl: Duration::from_secs(5), ..Options::default() };
    let leads = soon("the lead", worker.mesh.leaders().acquire("scheduler", &options)).await.unwrap();
    let lease = rig.controller.json(&["get", "lease", "scheduler"]);
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with(&worker.name), "{lease}");
    assert_eq!((lease["spec"]["leaseTransitions"].as_i64(), lease["spec"]["leaseDurationSeconds"].as_i64()), (Some(5), Some(5)));
    leads.release().await;
    assert_eq!(rig.controller.json(&["get", "lease", "scheduler"])["spec"]["holderIdentity"], "", "it is given back as client-go does");
}
