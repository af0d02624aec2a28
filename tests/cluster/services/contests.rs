//! Others who write to the same objects, or have objects of the same name.
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{asked, controlled, get, quiet, service, told};

const FOREIGN: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {matchLabels: {a: b}}, \
    template: {metadata: {labels: {a: b}}, spec: {containers: [{name: x, image: theirs}]}}}\n";

#[test]
fn a_foreign_object_of_the_name_is_left_alone_until_it_goes() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("foreign");
    space.apply(FOREIGN);
    let before = get(&space, "deploy web")["metadata"]["resourceVersion"].clone();
    space.apply(&service("web", "replicas: 1"));
    let message = told(&space, "web", "Ready", "NameTaken");
    for part in
        ["Deployment web is there already", "kubectl-client-side-apply", &format!("kubectl -n {} delete deployments web", space.name)]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    let generation = get(&space, "deploy web")["metadata"]["generation"].clone();
    assert_eq!(generation, 1, "{before}");
    quiet(&cluster, &space, Duration::from_secs(5));
    space.kubectl("delete deploy web");
    // Nobody tells of its end: it is asked for every half minute.
    told(&space, "web", "Ready", "Unschedulable");

    // A Service is in sight.
    space.kubectl("create service clusterip other --tcp=80");
    space.apply(&service("other", "replicas: 1"));
    let message = told(&space, "other", "Ready", "NameTaken");
    assert!(message.contains("Service other is there already"), "{message}");
    let deleted = Instant::now();
    space.kubectl("delete service other");
    told(&space, "other", "Ready", "Unschedulable");
    assert!(deleted.elapsed() < Duration::from_secs(10), "its end is seen at once");
}

#[test]
fn another_manager_keeps_its_own_fields_and_loses_those_of_the_service() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("managers");
    space.apply(&service("web", "replicas: 2"));
    told(&space, "web", "Ready", "Unschedulable");
    let theirs = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, annotations: {{theirs: x}}}}\nspec: {{minReadySeconds: 7, selector: {{matchLabels: {{mesh-controller.dev/service: web}}}}, template: {{spec: {{containers: [{{name: app, image: \"{image}\"}}]}}}}}}\n"
        )
    };
    let args = ["-n", &space.name, "apply", "--server-side", "--field-manager=other", "-f", "-"];
    let refused = cluster.try_kubectl(&args, &theirs("theirs:1"));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("conflict with \"mesh-controller\""), "{refused:?}");
    cluster.kubectl(&[&args[..], &["--force-conflicts"]].concat(), &theirs("theirs:1"));
    space.until("the image to be put back", "get deploy web -o jsonpath={..image}", |text| text == "quay.io/you/web:1");
    let deployment = get(&space, "deploy web");
    assert_eq!((&deployment["spec"]["minReadySeconds"], &deployment["metadata"]["annotations"]["theirs"]), (&7.into(), &"x".into()));
    // A user's own field manager on the service itself is nobody's trouble.
    let patch = ["-n", &space.name, "apply", "--server-side", "--field-manager=person", "--force-conflicts", "-f", "-"];
    cluster.kubectl(&patch, &service("web", "replicas: 3"));
    space.until("the scale", "get deploy web -o jsonpath={.spec.replicas}", |text| text == "3");
}

#[test]
fn a_field_that_somebody_else_wants_otherwise_is_no_hot_loop() {
    let Some(cluster) = controlled() else { return };
    let space = cluster.namespace("contest");
    space.apply(&service("web", "replicas: 2"));
    told(&space, "web", "Ready", "Unschedulable");
    let begin = (Timestamp::now(), Instant::now());
    let mut changes = 0;
    while begin.1.elapsed() < Duration::from_secs(20) {
        if get(&space, "deploy web")["spec"]["template"]["spec"]["containers"][0]["image"] != "theirs:9" {
            space.kubectl("set image deploy/web app=theirs:9 --field-manager=fighter");
            changes += 1;
        }
    }
    let writes =
        asked(&cluster, &space, begin.0).into_iter().filter(|asked| asked.resource == "deployments" && asked.verb == "patch").count();
    println!("in 20 s: {changes} changes by another manager, {writes} times put back");
    assert!((3..=6).contains(&writes), "{writes} writes");
    let message = told(&space, "web", "Degraded", "FieldContested");
    assert!(message.contains("field manager fighter changes spec.template.spec.containers[app].image of Deployment web"), "{message}");
    space.until("an event", "get events --field-selector reason=FieldContested -o jsonpath={.items[*].type}", |text| {
        text.contains("Warning")
    });
}
