//! What counts as different, and what is an API server's own way to write the same.
use serde_json::json;

use super::*;

fn paths(wanted: &Value, live: &Value) -> Vec<String> {
    drift(wanted, live).iter().map(|found| found.path.to_string()).collect()
}

#[test]
fn what_others_add_is_no_difference() {
    let wanted = json!({
        "metadata": {"labels": {"a": "1"}},
        "spec": {"containers": [{"name": "app", "image": "web:1", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}]},
    });
    let live = json!({
        "metadata": {"labels": {"a": "1", "b": "2"}, "uid": "x"},
        "spec": {"replicas": 1, "containers": [
            {"name": "sidecar", "image": "other"},
            {"name": "app", "image": "web:1", "env": [{"name": "B"}, {"name": "A", "value": "1"}], "ports": [{"containerPort": 80, "protocol": "TCP"}], "terminationMessagePath": "/x"},
        ]},
        "status": {},
    });
    assert_eq!(paths(&wanted, &live), Vec::<String>::new());
}

#[test]
fn what_was_changed_or_taken_away_is_named() {
    let wanted = json!({"spec": {
        "replicas": 2, "args": ["a", "b"], "off": false,
        "template": {"containers": [{"name": "app", "image": "web:1", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}]}]},
    }, "metadata": {"annotations": {"x/y": "1"}}});
    let live = json!({"spec": {
        "replicas": 3, "args": ["b", "a"],
        "template": {"containers": [{"name": "app", "image": "web:2", "ports": []}]},
    }, "metadata": {"annotations": {}}});
    assert_eq!(
        paths(&wanted, &live),
        [
            "metadata.annotations[x/y]",
            "spec.args",
            "spec.off",
            "spec.replicas",
            "spec.template.containers[app].image",
            "spec.template.containers[app].ports[80]",
        ]
    );
}

#[test]
fn the_same_written_otherwise_is_the_same() {
    for (wanted, live) in [
        (json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}}), json!({"limits": {"cpu": "1", "memory": "1Gi"}})),
        (json!({"emptyDir": {"sizeLimit": "1024Ki"}}), json!({"emptyDir": {"sizeLimit": "1Mi"}})),
        (json!({"port": "80"}), json!({"port": 80})),
        (json!({"tolerations": [], "nodeSelector": {}, "x": null}), json!({})),
        (json!({"tolerations": [{"key": "a"}]}), json!({"tolerations": [{"key": "a", "operator": "Equal"}]})),
    ] {
        assert_eq!(paths(&wanted, &live), Vec::<String>::new(), "{wanted} {live}");
    }
    assert_eq!(paths(&json!({"value": "1000m"}), &json!({"value": "1"})), ["value"], "not a quantity");
}
