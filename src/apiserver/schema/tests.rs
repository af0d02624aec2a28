//! Sentences about schemas.
#![expect(clippy::needless_pass_by_value, reason = "a table reads better with the values made in their places")]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn widget() -> Schema {
    Schema::from_open_api(&json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 100},
                    "colour": {"type": "string", "enum": ["red", "green", "blue"], "default": "red"},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 3, "items": {"type": "string", "maxLength": 5}},
                    "parts": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {
                            "type": "object", "required": ["name"],
                            "properties": {
                                "name": {"type": "string", "pattern": "^[a-z]+$"},
                                "qty": {"type": "integer", "default": 1, "x-kubernetes-validations": [
                                    {"rule": "self >= oldSelf", "messageExpression": "'was ' + string(oldSelf)"},
                                ]},
                            },
                        },
                    },
                    "port": {"x-kubernetes-int-or-string": true},
                    "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"known": {"type": "object"}}},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                    "note": {"type": "string", "nullable": true},
                },
                "x-kubernetes-validations": [
                    {"rule": "self.size != 13", "message": "thirteen is unlucky"},
                    {"rule": "!has(self.note) || self.note != 'no'", "reason": "FieldValueForbidden", "fieldPath": ".note", "message": "not this"},
                ],
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    }))
    .expect("structural")
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "judge.example/v1", "kind": "Widget", "metadata": {"name": "w1"}, "spec": spec})
}

#[track_caller]
fn check(spec: Value, expected: &[&str]) {
    let found: Vec<_> = widget().validate(&object(spec), None).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_right_is_not_complained_about() {
    check(json!({"size": 1}), &[]);
    check(json!({"size": 5, "tags": ["a"], "parts": [{"name": "a"}, {"name": "b"}], "port": "http", "note": null}), &[]);
    check(json!({"size": 1.0, "port": 80, "extra": {"any": [1, {"b": 2}]}}), &[]);
}

#[test]
fn errors_have_kubernetes_words() {
    check(json!({"size": 300}), &["spec.size: Invalid value: 300: spec.size in body should be less than or equal to 100"]);
    check(json!({}), &["spec.size: Required value"]);
    check(json!({"size": "big"}), &["spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\""]);
    check(
        json!({"size": 1, "colour": "pink"}),
        &["spec.colour: Unsupported value: \"pink\": supported values: \"red\", \"green\", \"blue\""],
    );
    check(json!({"size": 1, "tags": ["toolong"]}), &["spec.tags[0]: Too long: may not be more than 5 bytes"]);
    check(json!({"size": 1, "tags": ["a", "b", "c", "d"]}), &["spec.tags: Too many: 4: must have at most 3 items"]);
    check(
        json!({"size": 1, "parts": [{"name": "A"}]}),
        &["spec.parts[0].name: Invalid value: \"A\": spec.parts[0].name in body should match '^[a-z]+$'"],
    );
    check(
        json!({"size": 1, "labels": {"a": null}}),
        &["spec.labels.a: Invalid value: \"null\": spec.labels.a in body must be of type string: \"null\""],
    );
}

#[test]
fn duplicates_in_sets_and_map_lists_are_named_by_their_place() {
    check(json!({"size": 1, "tags": ["a", "b", "a"]}), &["spec.tags[2]: Duplicate value: \"a\""]);
    check(json!({"size": 1, "parts": [{"name": "a"}, {"name": "a"}]}), &["spec.parts[1]: Duplicate value: {\"name\":\"a\"}"]);
}

#[test]
fn rules_speak_without_the_value() {
    check(json!({"size": 13}), &["spec: Invalid value: thirteen is unlucky"]);
    check(json!({"size": 1, "note": "no"}), &["spec.note: Forbidden: not this"]);
}

#[test]
fn transition_rules_compare_map_list_items_by_their_keys() {
    let old = object(json!({"size": 1, "parts": [{"name": "a", "qty": 5}, {"name": "b", "qty": 1}]}));
    let new = object(json!({"size": 1, "parts": [{"name": "b", "qty": 2}, {"name": "a", "qty": 4}, {"name": "c", "qty": 0}]}));
    let found: Vec<_> = widget().validate(&new, Some(&old)).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["spec.parts[1].qty: Invalid value: was 5"]);
}

#[test]
fn what_did_not_change_is_not_held_against_an_update() {
    let old = object(json!({"size": 300, "colour": "red"}));
    let mut new = old.clone();
    new["spec"]["colour"] = json!("blue");
    assert_eq!(widget().validate(&new, Some(&old)), []);
}

#[test]
fn unknown_fields_are_named_by_their_paths_and_pruned() {
    let mut object = object(json!({
        "size": 1, "zz": 1, "parts": [{"name": "a", "q": {"deep": 1}}], "extra": {"free": 1, "known": {"no": 1}},
        "template": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", "bogus": 1}, "data": {"a": "b"}},
    }));
    object["metadata"]["bogus"] = json!(true);
    object["more"] = json!(1);
    let expected = ["metadata.bogus", "more", "spec.extra.known.no", "spec.parts[0].q", "spec.template.metadata.bogus", "spec.zz"];
    assert_eq!(widget().unknown_fields(&object), expected);
    widget().prune(&mut object);
    assert_eq!(widget().unknown_fields(&object), [""; 0]);
    assert_eq!(object["spec"]["extra"], json!({"free": 1, "known": {}}));
    assert_eq!(object["spec"]["template"]["data"], json!({"a": "b"}));
}

#[test]
fn defaults_fill_what_is_missing_and_what_may_not_be_null() {
    let mut object = object(json!({"size": 1, "colour": null, "note": null, "parts": [{"name": "a"}]}));
    object["metadata"]["creationTimestamp"] = Value::Null;
    widget().default(&mut object);
    assert_eq!(object["spec"], json!({"size": 1, "colour": "red", "note": null, "parts": [{"name": "a", "qty": 1}]}));
    assert_eq!(object["metadata"], json!({"name": "w1"}));
}

#[test]
fn names_follow_rfc_1123() {
    let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
                with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    for (name, expected) in [
        ("Bad_Name", vec![format!("metadata.name: Invalid value: \"Bad_Name\": {rule}")]),
        ("a\nb", vec![format!("metadata.name: Invalid value: \"a\\nb\": {rule}")]),
        ("ok.example", vec![]),
        ("", vec!["metadata.name: Required value: name or generateName is required".to_owned()]),
    ] {
        let mut object = object(json!({"size": 1}));
        object["metadata"]["name"] = json!(name);
        let found: Vec<_> = widget().validate(&object, None).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{name:?}");
    }
    let mut long = object(json!({"size": 1}));
    long["metadata"]["name"] = json!("a".repeat(300));
    assert!(widget().validate(&long, None)[0].to_string().ends_with("must be no more than 253 characters"));
}

#[test]
fn labels_and_embedded_objects_are_checked() {
    let mut bad = object(json!({"size": 1, "template": {"kind": "", "metadata": {"labels": {"a/b/c": "x"}}}}));
    bad["metadata"]["labels"] = json!({"bad key": "v", "ok": "bad value"});
    let found = widget().validate(&bad, None);
    let fields: Vec<_> = found.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        ["metadata.labels", "metadata.labels", "spec.template.apiVersion", "spec.template.kind", "spec.template.metadata.labels"]
    );
    assert!(found[0].message.starts_with("Invalid value: \"bad key\": name part must consist of alphanumeric characters"));
}

#[test]
fn logic_is_told_as_kube_openapi_tells_it() {
    let schema = Schema::from_open_api(&json!({
        "type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}},
    }))
    .expect("structural");
    let found = |spec| schema.validate(&object(spec), None).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(found(json!({"a": "x"})), [""; 0]);
    let both = "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives";
    assert_eq!(found(json!({"a": "x", "b": "y"})), [both]);
    let none = "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid";
    assert_eq!(found(json!({})), [none, "spec.a: Required value"]);
}

#[test]
fn a_schema_that_is_not_structural_is_refused_by_place() {
    let errors = Schema::from_open_api(&json!({
        "type": "object",
        "properties": {
            "spec": {"properties": {"list": {"type": "array"}, "p": {"type": "string", "pattern": "("}, "d": {"type": "integer", "default": "x"}}},
            "l": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
            "r": {"type": "object", "x-kubernetes-validations": [{"rule": "self +"}]},
        },
    }))
    .expect_err("not structural");
    let shown: Vec<_> = errors.iter().map(|error| format!("{} {}", error.reason.as_str(), error.field)).collect();
    assert_eq!(
        shown,
        [
            "FieldValueRequired properties[l].x-kubernetes-list-map-keys",
            "FieldValueRequired properties[spec].type",
            "FieldValueRequired properties[spec].properties[list].items",
            "FieldValueInvalid properties[spec].properties[p].pattern",
            "FieldValueInvalid properties[r].x-kubernetes-validations",
        ]
    );
    let default = json!({"type": "object", "properties": {"d": {"type": "integer", "default": "x"}}});
    assert_eq!(Schema::from_open_api(&default).expect_err("no integer")[0].field, "properties[d].default");
}

#[test]
fn built_in_kinds_know_their_fields_and_defaults() {
    let service = Schema::builtin("", "v1", "Service").expect("built in");
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "creationTimestamp": null, "zz": 1},
        "spec": {"ports": [{"port": 80, "q": 1}], "selector": {"app": "web"}}, "status": {"loadBalancer": {}},
    });
    assert_eq!(service.unknown_fields(&object), ["metadata.zz", "spec.ports[0].q"]);
    service.prune(&mut object);
    service.default(&mut object);
    assert_eq!(object["spec"]["ports"], json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]));
    assert_eq!(object["spec"]["type"], "ClusterIP");
    assert_eq!(service.validate(&object, None), []);
    object["spec"]["ports"][0]["port"] = json!(70000);
    let error = &service.validate(&object, None)[0];
    assert_eq!(error.to_string(), "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive");
}

#[test]
fn every_built_in_kind_has_a_schema() {
    for (group, kind) in [
        ("", "Namespace"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("", "Event"),
        ("events.k8s.io", "Event"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("coordination.k8s.io", "Lease"),
        ("apps", "ControllerRevision"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ] {
        let schema = Schema::builtin(group, "v1", kind).expect(kind);
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "namespace": "default"}, "zz": 1});
        assert_eq!(schema.unknown_fields(&object), ["zz"], "{group} {kind}");
    }
    assert!(Schema::builtin("", "v1", "Pod").is_none());
}

#[test]
fn opaque_parts_of_built_in_kinds_keep_everything() {
    let revision = Schema::builtin("apps", "v1", "ControllerRevision").expect("built in");
    let mut object = json!({"metadata": {"name": "r"}, "revision": 1, "data": {"spec": {"a": null, "b": [1]}}});
    assert_eq!(revision.unknown_fields(&object), [""; 0]);
    revision.default(&mut object);
    assert_eq!(object["data"], json!({"spec": {"a": null, "b": [1]}}));
}

#[test]
fn a_definition_is_checked_to_its_depths() {
    let definitions = Schema::builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("built in");
    let schema = json!({"type": "object", "default": {"free": 1}, "properties": {"a": {"type": "array", "items": {"type": "string", "typo": 1}},
        "m": {"additionalProperties": {"tipe": "x"}}}});
    let object = json!({"metadata": {"name": "w"}, "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}});
    let root = "spec.versions[0].schema.openAPIV3Schema.properties";
    assert_eq!(definitions.unknown_fields(&object), [format!("{root}.a.items.typo"), format!("{root}.m.additionalProperties.tipe")]);
}

#[test]
fn a_secret_gets_its_string_data_as_data_and_a_definition_its_names() {
    let secret = Schema::builtin("", "v1", "Secret").expect("built in");
    let mut object = json!({"metadata": {"name": "s"}, "data": {"a": "eA=="}, "stringData": {"token": "s3cret"}});
    secret.default(&mut object);
    assert_eq!(object, json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"a": "eA==", "token": "czNjcmV0"}}));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,3}".prop_map(Value::from)
    ];
    let name = prop_oneof![
        Just("spec".to_owned()),
        Just("parts".to_owned()),
        Just("extra".to_owned()),
        Just("metadata".to_owned()),
        Just("name".to_owned()),
        "[a-z]{1,3}"
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_unknown_is_left_by_pruning_and_nothing_makes_validation_panic(mut value in any_json(), old in any_json()) {
        let schema = widget();
        schema.prune(&mut value);
        prop_assert_eq!(schema.unknown_fields(&value), Vec::<String>::new());
        schema.default(&mut value);
        let once = value.clone();
        schema.default(&mut value);
        prop_assert_eq!(&value, &once);
        let _ = schema.validate(&value, Some(&old));
    }
}

/// The schemas of the project's own kinds, which start the server.
fn own_schemas() -> Vec<(String, Schema)> {
    let read = |definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let definition = serde_json::to_value(definition).expect("JSON");
        let name = definition["spec"]["names"]["kind"].as_str().expect("a kind").to_owned();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let schema = Schema::from_open_api(schema).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let definitions = Schema::builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("built in");
        assert_eq!(definitions.unknown_fields(&definition), [""; 0], "{name}");
        assert_eq!(definitions.validate(&definition, None), [], "{name}");
        (name, schema)
    };
    mesh_api::crds::all().into_iter().map(read).collect()
}

#[test]
fn the_projects_own_definitions_are_structural_and_their_rules_compile() {
    assert_eq!(own_schemas().len(), 5);
}
