//! The number of replicas passes to an autoscaler and back, and is never lost on the way.
use super::{controlled, get, service, told};

const AUTOSCALER: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: any}\n\
    spec: {minReplicas: 2, maxReplicas: 10, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, \
    metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}\n";

#[test]
fn an_autoscaler_of_the_deployment_gets_the_number_as_it_is_and_gives_it_back() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("hpa");
    space.apply(&service("web", "replicas: 4"));
    space.until("the Deployment", "get deploy -o jsonpath={..spec.replicas}", |text| text == "4");
    space.apply(AUTOSCALER);
    let owners = |text: &str| {
        let deployment: serde_json::Value = serde_json::from_str(text).unwrap();
        let entries = deployment["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let own = entries.iter().filter(|entry| entry["fieldsV1"]["f:spec"].get("f:replicas").is_some());
        own.map(|entry| entry["manager"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let words = "get deploy web -o json --show-managed-fields";
    let text = space.until("the number to be let go", words, |text| owners(text) == ["mesh-controller-handover"]);
    let deployment: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 4);
    let history = get(&space, "replicasets")["items"][0]["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"].clone();
    assert_eq!(history, "4");

    // As the autoscaler does it.
    space.kubectl("scale deploy web --replicas=6");
    space.until("its number in the status", "get msvc web -o jsonpath={.status.ready}", |text| text == "0/6");
    space.apply(&service("web", "replicas: 4, env: [{name: A, value: b}]"));
    space.until("a new template", "get deploy web -o jsonpath={..env[?(@.name==\"A\")].value}", |text| text == "b");
    assert_eq!(get(&space, "deploy web")["spec"]["replicas"], 6);

    space.kubectl("delete hpa any");
    space.until("the number of the service", "get deploy web -o jsonpath={.spec.replicas}", |text| text == "4");
    // And once more, now that the number has had several owners.
    space.apply(AUTOSCALER);
    space.until("the number to be let go", words, |text| !owners(text).contains(&"mesh-controller".to_owned()));
    assert_eq!(get(&space, "deploy web")["spec"]["replicas"], 4);
}

#[test]
fn an_autoscaler_of_the_service_writes_its_scale() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("scale");
    space.apply(&service("web", "replicas: 1"));
    told(&space, "web", "Ready", "Unschedulable");
    space.kubectl("scale msvc web --replicas=3");
    space.until("the Deployment to follow", "get deploy web -o jsonpath={.spec.replicas}", |text| text == "3");
    space.until("a budget", "get pdb -o name", |text| text.trim() == "poddisruptionbudget.policy/web");
}
