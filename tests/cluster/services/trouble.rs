//! What the API server refuses.
use std::time::Duration;

use jiff::Timestamp;

use mesh_controller::kit::shutdown::Shutdown;

use super::{super::machine::Cluster, asked, client_of, control, controlled, install_crds, options, service, told};

#[test]
fn a_spec_that_a_cluster_cannot_do_is_a_condition() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("spec");
    space.apply("apiVersion: mesh-controller.dev/v1alpha1\nkind: MeshService\nmetadata: {name: web}\nspec: {command: [web]}\n");
    let message = told(&space, "web", "Ready", "UnsupportedByBackend");
    assert!(message.starts_with("spec.image: "), "{message}");
}

#[test]
fn what_an_admission_policy_refuses_is_told_and_not_asked_for_again_and_again() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("policy");
    space.forbid("count/deployments.apps", "create deployment nothing");
    let before = Timestamp::now();
    space.apply(&service("web", "replicas: 1"));
    let message = told(&space, "web", "Ready", "RejectedByCluster");
    assert!(message.contains("Deployment web: ") && message.contains("exceeded quota"), "{message}");
    std::thread::sleep(Duration::from_secs(5));
    let tries =
        asked(&cluster, &space, before).into_iter().filter(|asked| asked.resource == "deployments" && asked.verb == "patch").count();
    assert_eq!(tries, 1);
}

#[test]
fn a_namespace_that_goes_is_left_in_peace() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("ends");
    space.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stays, finalizers: [example.com/hold]}\n");
    // It stays as well, so that its objects are missed while the namespace takes no new ones.
    space.apply(&service("web", "replicas: 2").replace("{name: web}", "{name: web, finalizers: [example.com/hold]}"));
    told(&space, "web", "Ready", "Unschedulable");
    let before = Timestamp::now();
    cluster.kubectl(&["delete", "namespace", &space.name, "--wait=false"], "");
    space.until("the objects to go", "get deploy,svc,sa,pdb -o name", |text| !text.contains("web"));
    std::thread::sleep(Duration::from_secs(3));
    let writes: Vec<_> =
        asked(&cluster, &space, before).into_iter().filter(|asked| asked.writes() && !asked.resource.contains("events")).collect();
    println!("{} writes in a namespace that goes", writes.len());
    assert!(writes.len() <= 8, "{writes:?}");
    for kind in ["cm/stays", "msvc/web"] {
        space.kubectl(&format!("patch {kind} --type=json -p [{{\"op\":\"remove\",\"path\":\"/metadata/finalizers\"}}]"));
    }
}

#[test]
fn a_right_that_is_missing_is_told_with_the_api_servers_words() {
    let Some(cluster) = Cluster::own(&[]) else { return };
    install_crds(&cluster);
    cluster.kubectl(&["create", "clusterrole", "reader", "--verb=get,list,watch", "--resource=deployments.apps,jobs.batch,services,pods,serviceaccounts,endpointslices.discovery.k8s.io,horizontalpodautoscalers.autoscaling,poddisruptionbudgets.policy,meshservices.mesh-controller.dev"], "");
    cluster.kubectl(
        &[
            "create",
            "clusterrole",
            "writer",
            "--verb=create,patch",
            "--resource=services,serviceaccounts,events,meshservices.mesh-controller.dev/status",
        ],
        "",
    );
    let client = client_of(&cluster, "limited", "--clusterrole=reader");
    cluster.kubectl(&["create", "clusterrolebinding", "limited-writer", "--clusterrole=writer", "--serviceaccount=default:limited"], "");
    std::thread::spawn(move || control(client, options(None), Shutdown::new().0.triggered()));
    let space = cluster.namespace("rights");
    let before = Timestamp::now();
    space.apply(&service("web", "replicas: 1"));
    let message = told(&space, "web", "Ready", "Forbidden");
    for part in ["cannot patch resource \"deployments\"", "mesh-system", "kubectl apply -k deploy/rbac"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    std::thread::sleep(Duration::from_secs(5));
    let tries =
        cluster.asked(":limited", before).into_iter().filter(|asked| asked.resource == "deployments" && asked.verb == "patch").count();
    assert_eq!(tries, 1);
    // Where the right is given, it is used the next time.
    cluster
        .kubectl(&["create", "clusterrolebinding", "limited-admin", "--clusterrole=cluster-admin", "--serviceaccount=default:limited"], "");
    told(&space, "web", "Ready", "Unschedulable");
}
