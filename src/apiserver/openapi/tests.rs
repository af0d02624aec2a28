//! Sentences about `OpenAPI` documents.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::schema::builtin_open_api;

fn widgets() -> Value {
    let schema = json!({"type": "object", "description": "Widgets are judged.", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "description": "How large."}}},
        "metadata": {"type": "object"},
    }});
    let resource =
        OpenApiResource { kind: "Widget".into(), plural: "widgets".into(), namespaced: true, schema, has_status: true, has_scale: true };
    document("judge.example", "v1", &[resource])
}

fn core() -> Value {
    let resource = |kind: &str, plural: &str, namespaced| OpenApiResource {
        kind: kind.into(),
        plural: plural.into(),
        namespaced,
        schema: builtin_open_api("", "v1", kind).expect("built in"),
        has_status: false,
        has_scale: false,
    };
    document(
        "",
        "v1",
        &[resource("Namespace", "namespaces", false), resource("Service", "services", true), resource("Secret", "secrets", true)],
    )
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_to_a_component() {
    for document in [widgets(), core()] {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in found.iter().filter(|reference| reference.starts_with('#')) {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        assert!(!found.is_empty());
    }
}

#[test]
fn kubectl_finds_that_the_server_validates() {
    let (widgets, core) = (widgets(), core());
    for (document, path) in [
        (&widgets, "/apis/judge.example/v1/namespaces/{namespace}/widgets/{name}"),
        (&core, "/api/v1/namespaces/{name}"),
        (&core, "/api/v1/namespaces/{namespace}/services/{name}"),
    ] {
        let patch = &document["paths"][path]["patch"];
        assert!(patch["x-kubernetes-group-version-kind"]["kind"].is_string(), "{path}");
        let parameters = patch["parameters"].as_array().expect("parameters");
        assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation" && parameter["in"] == "query"), "{path}");
    }
}

#[test]
fn kinds_are_named_by_their_reversed_group_and_share_object_meta() {
    let document = widgets();
    let widget = &document["components"]["schemas"]["example.judge.v1.Widget"];
    assert_eq!(widget["x-kubernetes-group-version-kind"], json!([{"group": "judge.example", "version": "v1", "kind": "Widget"}]));
    let meta = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    assert_eq!(widget["properties"]["metadata"]["allOf"][0]["$ref"], meta);
    assert_eq!(widget["properties"]["spec"]["properties"]["size"]["description"], "How large.");
    assert!(document["paths"].get("/apis/judge.example/v1/namespaces/{namespace}/widgets/{name}/scale").is_some());
    assert!(document["paths"]["/apis/judge.example/v1/widgets"].get("post").is_none());
}

#[test]
fn built_in_kinds_tell_how_a_strategic_patch_merges_them() {
    let document = core();
    let service = &document["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
    assert_eq!(service["x-kubernetes-patch-merge-key"], "port");
    assert_eq!(service["x-kubernetes-patch-strategy"], "merge");
    let secret = &document["components"]["schemas"]["io.k8s.api.core.v1.Secret"];
    assert_eq!(secret["x-kubernetes-group-version-kind"][0]["kind"], "Secret");
}
