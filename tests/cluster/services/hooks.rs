//! Where the pods' drain hook asks, and with which program, and where they find the agent: it follows routers and agents, and what need not roll out does not.
use std::time::{Duration, Instant};

use mesh_controller::{backend::kubernetes::render::Door, kit::shutdown::Shutdown};

use super::{
    super::machine::{Cluster, Namespace},
    Options, client_of, control, get, install_crds, options, service,
};

const IMAGE: &str = "get deploy web -o jsonpath={.spec.template.spec.initContainers[*].image}";

fn router_service(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: mesh-router-drain, namespace: mesh-system}}\nspec: {{clusterIP: {address}, ports: [{{name: drain, port: 9464}}]}}\n"
    )
}

/// The generation of the Deployment stays as it is for two seconds.
fn stays(space: &Namespace<'_>) {
    let generation = || get(space, "deploy web")["metadata"]["generation"].clone();
    let (before, begin) = (generation(), Instant::now());
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(generation(), before);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_new_release_of_the_controller_rolls_out_no_service_and_a_new_address_of_the_routers_does() {
    let Some(cluster) = Cluster::own(&["--no-controllers"]) else { return };
    install_crds(&cluster);
    for namespace in ["mesh-system", "shop"] {
        let _ = cluster.try_kubectl(&["create", "namespace", namespace], "");
    }
    let client = client_of(&cluster, "hooks", "--clusterrole=cluster-admin");
    let start = |image: &'static str, door: Option<Door>| {
        let (shutdown, _) = Shutdown::new();
        let (client, end) = (client.clone(), shutdown.triggered());
        let thread = std::thread::spawn(move || control(client, Options { door, ..options(Some(image)) }, end));
        move || {
            shutdown.trigger();
            thread.join().unwrap();
        }
    };
    cluster.kubectl(&["apply", "-f", "-"], &router_service("10.96.7.1"));
    let stop = start("mesh:1", None);
    let space = cluster.namespace("hooks");
    space.apply(&service("web", "replicas: 1, port: 8080"));
    space.until("the hook", IMAGE, |text| text == "mesh:1");
    let address = "get deploy web -o jsonpath={..env[?(@.name==\"MESH_DRAIN_ADDRESS\")].value}";
    assert_eq!(space.kubectl(address), "10.96.7.1:9464");

    cluster.kubectl(&["-n", "mesh-system", "delete", "service", "mesh-router-drain"], "");
    stays(&space);
    cluster.kubectl(&["apply", "-f", "-"], &router_service("10.96.7.2"));
    space.until("the new address", address, |text| text == "10.96.7.2:9464");

    stop();
    let agent = "get deploy web -o jsonpath={..env[?(@.name==\"MESH_AGENT\")].value}";
    let stop = start("mesh:2", Some(Door { agent: "http://agent".to_owned(), router: None }));
    stays(&space);
    assert_eq!((space.kubectl(IMAGE), space.kubectl(agent)), ("mesh:1".to_owned(), String::new()));
    space.apply(&service("web", "replicas: 1, port: 8080, env: [{name: A, value: b}]"));
    space.until("the new image, with what is rolled out anyway", IMAGE, |text| text == "mesh:2");
    assert_eq!(space.kubectl(agent), "http://agent");
    stop();

    // One that pods are told of moves: they are told anew.
    let stop = start("mesh:3", Some(Door { agent: "http://other".to_owned(), router: None }));
    space.until("the new address of the agent", agent, |text| text == "http://other");
    stop();
}
