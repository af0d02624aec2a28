//! Sentences about tables.
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-11-21T08:30:00Z".parse().expect("a time")
}

#[test]
fn durations_are_shown_as_kubectl_shows_them() {
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;
    for (seconds, expected) in [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (600, "10m"),
        (3 * HOUR - 1, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 60, "3h1m"),
        (8 * HOUR + 60, "8h"),
        (2 * DAY, "2d"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (8 * DAY + HOUR, "8d"),
        (2 * 365 * DAY, "2y"),
        (2 * 365 * DAY + DAY, "2y1d"),
        (9 * 365 * DAY, "9y"),
    ] {
        assert_eq!(human::duration(seconds), expected, "{seconds}");
    }
}

#[track_caller]
fn check(path: &str, expected: &Value) {
    let object = json!({
        "spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443, "name": "https"}], "a.b": 1, "list": [1, 2, 3]},
        "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
        "status": {"conditions": [{"type": "Available", "status": "False"}, {"type": "Ready", "status": "True", "n": 2}]},
    });
    let found: Option<Vec<_>> = Path::parse(path).map(|path| path.find(&object).into_iter().cloned().collect());
    assert_eq!(&json!(found), expected, "{path}");
}

#[test]
fn paths_lead_where_kubernetes_leads_them() {
    check(".spec.ports[0].port", &json!([80]));
    check("{.spec.ports[-1].port}", &json!([443]));
    check("$.spec.ports[*].name", &json!(["http", "https"]));
    check(".spec['a.b']", &json!([1]));
    check(r".metadata.labels.app\.kubernetes\.io/name", &json!(["web"]));
    check(r".metadata.labels['app\.kubernetes\.io/name']", &json!(["web"]));
    check(".status.conditions[?(@.type==\"Ready\")].status", &json!(["True"]));
    check(".status.conditions[?(@.type=='Ready')].status", &json!(["True"]));
    check(".status.conditions[?(@.n>=2)].type", &json!(["Ready"]));
    check(".status.conditions[?(@.n)].type", &json!(["Ready"]));
    check(".status.conditions[?(@.type!=\"Ready\")].type", &json!(["Available"]));
    check(".spec.none[0].deep", &json!([]));
    check(".spec.ports[9]", &json!([]));
    check(".spec[", &Value::Null);
    check(".spec[x]", &Value::Null);
}

#[test]
fn columns_of_a_definition_show_their_types() {
    let columns = Columns::from_crd(&json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether it is"},
        {"name": "Since", "type": "date", "jsonPath": ".status.since", "priority": 1},
        {"name": "Map", "type": "string", "jsonPath": ".spec.map"},
        {"name": "Wrong", "type": "integer", "jsonPath": ".spec.map"},
        {"name": "Gone", "type": "string", "jsonPath": ".spec.gone"},
    ]));
    assert_eq!(columns.definitions()[0]["format"], "name");
    assert_eq!(columns.definitions()[3], json!({"name": "Since", "type": "date", "format": "", "description": "", "priority": 1}));
    let object = json!({
        "metadata": {"name": "w"}, "spec": {"size": 3, "map": {"a": 1}},
        "status": {"since": "2026-11-18T04:30:00Z", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    assert_eq!(json!(columns.row(&object, now())), json!(["w", 3, "True", "3d4h", "{\"a\":1}", null, null]));
}

#[test]
fn without_columns_there_are_name_and_age() {
    let object = json!({"metadata": {"name": "w", "creationTimestamp": "2026-11-21T08:29:30Z"}});
    assert_eq!(json!(Columns::from_crd(&Value::Null).row(&object, now())), json!(["w", "30s"]));
    assert_eq!(json!(Columns::builtin("x", "Y").row(&object, now())), json!(["w", "30s"]));
}

#[test]
fn built_in_kinds_have_the_columns_that_people_know() {
    let created = "2026-11-21T08:29:30Z";
    let meta = json!({"name": "n", "creationTimestamp": created});
    for (group, kind, object, expected) in [
        ("", "Namespace", json!({"metadata": meta, "status": {"phase": "Active"}}), json!(["n", "Active", "30s"])),
        ("", "ConfigMap", json!({"metadata": meta, "data": {"a": "1"}, "binaryData": {"b": ""}}), json!(["n", 2, "30s"])),
        ("", "Secret", json!({"metadata": meta, "type": "Opaque", "data": {"a": ""}}), json!(["n", "Opaque", 1, "30s"])),
        ("", "ServiceAccount", json!({"metadata": meta}), json!(["n", 0, "30s"])),
        (
            "",
            "Service",
            json!({"metadata": meta, "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"a": "b"}}}),
            json!(["n", "ClusterIP", "10.0.0.1", "<none>", "80/TCP", "30s", "a=b"]),
        ),
        (
            "discovery.k8s.io",
            "EndpointSlice",
            json!({"metadata": meta, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]}),
            json!(["n", "IPv4", "80", "10.0.0.1", "30s"]),
        ),
        ("coordination.k8s.io", "Lease", json!({"metadata": meta, "spec": {"holderIdentity": "me"}}), json!(["n", "me", "30s"])),
        (
            "apps",
            "ControllerRevision",
            json!({"metadata": {"name": "n", "creationTimestamp": created, "ownerReferences": [{"kind": "MeshService", "name": "web", "controller": true}]}, "revision": 4}),
            json!(["n", "meshservice/web", 4, "30s"]),
        ),
        ("apiextensions.k8s.io", "CustomResourceDefinition", json!({"metadata": meta}), json!(["n", created])),
    ] {
        let columns = Columns::builtin(group, kind);
        assert_eq!(json!(columns.row(&object, now())), expected, "{kind}");
        assert_eq!(columns.definitions().as_array().map(Vec::len), expected.as_array().map(Vec::len), "{kind}");
    }
}

#[test]
fn events_of_either_group_show_the_same_row() {
    let core = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "MeshService", "name": "web"}, "type": "Normal", "reason": "Started",
        "message": "it runs\n", "firstTimestamp": "2026-11-21T08:20:00Z", "lastTimestamp": "2026-11-21T08:29:50Z", "count": 3, "source": {"component": "c"},
    });
    let new = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "MeshService", "name": "web"}, "type": "Normal", "reason": "Started", "note": "it runs\n",
        "eventTime": "2026-11-21T08:20:00.000000Z", "series": {"count": 3, "lastObservedTime": "2026-11-21T08:29:50.000000Z"}, "reportingController": "c",
    });
    let expected = json!(["10s (x3 over 10m)", "Normal", "Started", "meshservice/web", "", "c", "it runs", "10m", 3, "e"]);
    assert_eq!(json!(Columns::builtin("", "Event").row(&core, now())), expected);
    assert_eq!(json!(Columns::builtin("events.k8s.io", "Event").row(&new, now())), expected);
}
