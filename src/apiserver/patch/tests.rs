//! Sentences about patches.
#![expect(clippy::needless_pass_by_value, reason = "a table reads better with the values made in their places")]
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::managed_fields::record_update;

const VERSION: &str = "judge.example/v1";

fn widget() -> Schema {
    Schema::from_open_api(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"},
            "colour": {"type": "string"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "string"}},
            "one": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "qty": {"type": "integer"}}}},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }}))
    .expect("structural")
    .with_status_subresource(true)
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

fn options(manager: &str, second: i64) -> ApplyOptions<'_> {
    let now = Timestamp::from_second(1_763_714_286 + second).expect("a time");
    ApplyOptions { manager, force: false, api_version: VERSION, subresource: None, now }
}

fn applied(live: Option<&Value>, spec: Value, manager: &str, second: i64) -> Value {
    apply(live, &object(spec), &widget(), &options(manager, second)).expect("no conflict")
}

fn refused(live: &Value, spec: Value, manager: &str) -> String {
    apply(Some(live), &object(spec), &widget(), &options(manager, 9)).expect_err("a conflict").to_string()
}

/// The managers that own a field's `fieldsV1` key, anywhere.
fn owners(object: &Value, key: &str) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let owns = |entry: &&Value| entry["fieldsV1"].to_string().contains(&serde_json::to_string(key).unwrap());
    entries.iter().filter(owns).map(|entry| entry["manager"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_applier_owns_what_it_sent() {
    let live =
        applied(None, json!({"size": 1, "parts": [{"name": "p", "qty": 1}], "tags": ["t"], "plain": ["x"], "one": {"a": "1"}}), "a", 0);
    assert_eq!(
        live["metadata"]["managedFields"],
        json!([{
            "manager": "a", "operation": "Apply", "apiVersion": VERSION, "time": "2025-11-21T08:38:06Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {
                "f:size": {}, "f:one": {}, "f:plain": {},
                "f:parts": {"k:{\"name\":\"p\"}": {".": {}, "f:name": {}, "f:qty": {}}},
                "f:tags": {"v:\"t\"": {}},
            }},
        }])
    );
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_the_time() {
    let live = applied(None, json!({"size": 1, "parts": [{"name": "p"}]}), "a", 0);
    assert_eq!(applied(Some(&live), json!({"size": 1, "parts": [{"name": "p"}]}), "a", 7), live);
}

#[test]
fn changing_what_another_one_applied_is_a_conflict() {
    let live = applied(None, json!({"size": 1, "parts": [{"name": "p", "qty": 1}]}), "A", 0);
    assert_eq!(refused(&live, json!({"size": 2}), "B"), "Apply failed with 1 conflict: conflict with \"A\": .spec.size");
    assert_eq!(
        refused(&live, json!({"size": 2, "parts": [{"name": "p", "qty": 2}]}), "B"),
        "Apply failed with 2 conflicts: conflicts with \"A\":\n- .spec.parts[name=\"p\"].qty\n- .spec.size"
    );
}

#[test]
fn changing_what_another_one_updated_names_its_version() {
    let mut live = object(json!({"size": 1}));
    record_update(None, &mut live, "X", VERSION, None, options("", 0).now, &widget());
    assert_eq!(
        refused(&live, json!({"size": 2}), "B"),
        "Apply failed with 1 conflict: conflict with \"X\" using judge.example/v1: .spec.size"
    );
    let forced = ApplyOptions { force: true, ..options("B", 1) };
    let live = apply(Some(&live), &object(json!({"size": 2})), &widget(), &forced).expect("forced");
    assert_eq!((owners(&live, "f:size"), &live["spec"]["size"]), (vec!["B".to_owned()], &json!(2)));
}

#[test]
fn equal_values_are_owned_by_both_and_stay_until_the_last_one_lets_go() {
    let live = applied(None, json!({"size": 1, "colour": "red"}), "a", 0);
    let live = applied(Some(&live), json!({"size": 1}), "b", 1);
    assert_eq!(owners(&live, "f:size"), ["a", "b"]);
    let live = applied(Some(&live), json!({"colour": "red"}), "a", 2);
    assert_eq!(live["spec"], json!({"size": 1, "colour": "red"}));
    let live = applied(Some(&live), json!({"map": {"k": "v"}}), "b", 3);
    assert_eq!(live["spec"], json!({"colour": "red", "map": {"k": "v"}}));
}

#[test]
fn what_an_applier_no_longer_sends_goes_with_the_container_that_it_leaves_empty() {
    let live =
        applied(None, json!({"size": 1, "map": {"a": "1", "b": "2"}, "parts": [{"name": "p"}, {"name": "q"}], "tags": ["x", "y"]}), "a", 0);
    let live = applied(Some(&live), json!({"size": 1, "map": {"a": "1"}, "parts": [{"name": "q"}], "tags": ["y"]}), "a", 1);
    assert_eq!(live["spec"], json!({"size": 1, "map": {"a": "1"}, "parts": [{"name": "q"}], "tags": ["y"]}));
    let live = applied(Some(&live), json!({"size": 1}), "a", 2);
    assert_eq!(live["spec"], json!({"size": 1}));
}

#[test]
fn what_nobody_applied_stays_with_an_owner_from_before() {
    let mut live = object(json!({"size": 1, "parts": [{"name": "theirs", "qty": 3}]}));
    live["metadata"]["uid"] = json!("u");
    let live = applied(Some(&live), json!({"parts": [{"name": "mine"}]}), "a", 0);
    assert_eq!(owners(&live, "f:size"), ["before-first-apply"]);
    let live = applied(Some(&live), json!({"colour": "red"}), "a", 1);
    assert_eq!(live["spec"], json!({"size": 1, "colour": "red", "parts": [{"name": "theirs", "qty": 3}]}));
    assert_eq!(live["metadata"]["uid"], "u");
}

#[test]
fn an_item_goes_with_its_applier_and_one_that_an_updater_made_stays() {
    let live = applied(None, json!({"parts": [{"name": "p"}]}), "a", 0);
    let mut updated = live.clone();
    updated["spec"]["parts"] = json!([{"name": "p", "qty": 5}, {"name": "u"}]);
    record_update(Some(&live), &mut updated, "u", VERSION, None, options("", 1).now, &widget());
    let live = applied(Some(&updated), json!({"size": 1}), "a", 2);
    assert_eq!(live["spec"]["parts"], json!([{"name": "u"}]));
}

#[test]
fn lists_keep_the_applied_order_and_the_others_their_place() {
    let live = object(json!({"tags": ["a", "x", "b", "c", "y"]}));
    let spec = |live: &Value, tags: Value| applied(Some(live), json!({"tags": tags}), "m", 0)["spec"]["tags"].clone();
    assert_eq!(spec(&live, json!(["a", "b", "c"])), json!(["a", "x", "b", "c", "y"]));
    assert_eq!(spec(&live, json!(["c", "b", "n"])), json!(["a", "x", "c", "b", "y", "n"]));
}

#[test]
fn an_atomic_value_is_owned_and_replaced_as_a_whole() {
    let live = applied(None, json!({"plain": ["x", "y"], "one": {"a": "1", "b": "2"}}), "a", 0);
    let live = applied(Some(&live), json!({"plain": ["z"], "one": {"b": "3"}}), "a", 1);
    assert_eq!(live["spec"], json!({"plain": ["z"], "one": {"b": "3"}}));
    assert_eq!(refused(&live, json!({"one": {"a": "9"}}), "b"), "Apply failed with 1 conflict: conflict with \"a\": .spec.one");
}

#[test]
fn untyped_parts_have_granular_maps_and_atomic_lists() {
    let live = applied(None, json!({"free": {"a": {"b": 1}, "list": [{"name": "x"}]}}), "a", 0);
    let live = applied(Some(&live), json!({"free": {"a": {"c": 2}}}), "b", 1);
    assert_eq!(live["spec"]["free"], json!({"a": {"b": 1, "c": 2}, "list": [{"name": "x"}]}));
    assert!(refused(&live, json!({"free": {"list": []}}), "b").ends_with(".spec.free.list"));
}

#[test]
fn an_apply_to_status_owns_status_only_and_the_main_endpoint_never_does() {
    let live = applied(None, json!({"size": 1}), "a", 0);
    let mut status = object(json!({"size": 9}));
    status["status"] = json!({"phase": "Ready"});
    status["metadata"]["labels"] = json!({"no": "no"});
    let to_status = ApplyOptions { subresource: Some("status"), ..options("a", 1) };
    let after = apply(Some(&live), &status, &widget(), &to_status).expect("no conflict");
    assert_eq!((&after["spec"], &after["status"], after["metadata"].get("labels")), (&live["spec"], &json!({"phase": "Ready"}), None));
    assert_eq!(after["metadata"]["managedFields"][1]["fieldsV1"], json!({"f:status": {"f:phase": {}}}));
    let main = apply(Some(&live), &status, &widget(), &options("a", 1)).expect("no conflict");
    assert_eq!(main.get("status"), None);
}

#[test]
fn an_apply_that_cannot_be_one_says_why() {
    let run = |object: Value, manager: &str| apply(None, &object, &widget(), &options(manager, 0)).expect_err("refused").to_string();
    let mut owned = object(json!({}));
    owned["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert_eq!(run(owned, "a"), "metadata.managedFields must be nil");
    assert_eq!(run(object(json!({})), ""), "fieldManager: Required value: is required for apply patch");
    let twice = run(object(json!({"parts": [{"name": "p"}, {"name": "p"}]})), "a");
    assert!(twice.ends_with("Kind=Widget): .spec.parts: duplicate entries for key [name=\"p\"]"), "{twice}");
}

#[test]
fn json_patches_fit_or_are_refused_as_a_whole() {
    let live = object(json!({"size": 1}));
    let patch = json!([{"op": "test", "path": "/spec/size", "value": 1}, {"op": "replace", "path": "/spec/size", "value": 2}]);
    assert_eq!(json(&live, &patch).expect("fits")["spec"]["size"], 2);
    let wrong = json!([{"op": "test", "path": "/spec/size", "value": 7}]);
    assert_eq!(json(&live, &wrong).expect_err("no").to_string(), "the server rejected our request due to an error in our request");
    assert!(matches!(json(&live, &json!({"op": "add"})), Err(PatchError::Malformed(_))));
}

fn service(ports: Value) -> Value {
    json!({"metadata": {"name": "s", "finalizers": ["a", "b"]}, "spec": {"ports": ports, "selector": {"app": "x"}}})
}

#[track_caller]
fn check_strategic(patch: Value, pointer: &str, expected: Value) {
    let schema = Schema::builtin("", "v1", "Service").expect("built in");
    let live = service(json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]));
    let patched = strategic(&live, &patch, &schema).expect("fits");
    assert_eq!(patched.pointer(pointer), Some(&expected).filter(|expected| !expected.is_null()));
}

#[test]
fn strategic_patches_merge_lists_by_their_key() {
    let merged = json!([{"port": 80, "name": "web"}, {"port": 443, "name": "https"}, {"port": 1, "name": "n"}]);
    check_strategic(json!({"spec": {"ports": [{"port": 80, "name": "web"}, {"port": 1, "name": "n"}]}}), "/spec/ports", merged);
    check_strategic(json!({"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}), "/spec/ports", json!([{"port": 443, "name": "https"}]));
    check_strategic(json!({"spec": {"ports": [{"$patch": "replace"}, {"port": 1}]}}), "/spec/ports", json!([{"port": 1}]));
    let order = json!({"spec": {"$setElementOrder/ports": [{"port": 443}, {"port": 80}], "ports": [{"port": 80, "name": "web"}]}});
    check_strategic(order, "/spec/ports", json!([{"port": 443, "name": "https"}, {"port": 80, "name": "web"}]));
}

#[test]
fn what_kubectl_apply_sends_for_a_changed_service_does_what_it_means() {
    let sent = json!({"spec": {"$setElementOrder/ports": [{"port": 80}], "ports": [{"name": "aa", "port": 80}, {"$patch": "delete", "port": 443}]}});
    check_strategic(sent, "/spec/ports", json!([{"port": 80, "name": "aa"}]));
}

#[test]
fn strategic_patches_know_their_directives() {
    check_strategic(json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}), "/metadata/finalizers", json!(["b"]));
    check_strategic(json!({"metadata": {"finalizers": ["c"]}}), "/metadata/finalizers", json!(["a", "b", "c"]));
    check_strategic(json!({"spec": {"$retainKeys": ["ports"]}}), "/spec/selector", Value::Null);
    check_strategic(json!({"spec": {"selector": {"$patch": "replace", "new": "y"}}}), "/spec/selector", json!({"new": "y"}));
    check_strategic(json!({"spec": {"selector": {"$patch": "delete"}}}), "/spec/selector", Value::Null);
    check_strategic(json!({"spec": {"selector": {"app": null, "b": "c"}}}), "/spec/selector", json!({"b": "c"}));
}

fn maps() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<u8>().prop_map(Value::from), "[a-z]{0,2}".prop_map(Value::from)];
    leaf.prop_recursive(4, 30, 4, |inner| {
        proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect()))
    })
}

fn specs() -> impl Strategy<Value = Value> {
    let parts = proptest::collection::btree_map("[a-c]", proptest::option::of(0..3_u8), 0..3).prop_map(|parts| {
        let part = |(name, qty): (String, Option<u8>)| qty.map_or_else(|| json!({"name": name}), |qty| json!({"name": name, "qty": qty}));
        parts.into_iter().map(part).collect::<Value>()
    });
    let tags = proptest::collection::btree_set("[a-c]", 0..3).prop_map(|tags| tags.into_iter().map(Value::from).collect::<Value>());
    (proptest::option::of(0..3_u8), proptest::option::of(parts), proptest::option::of(tags), maps()).prop_map(
        |(size, parts, tags, free)| {
            let mut spec = json!({"free": free.as_object().cloned().unwrap_or_default()});
            for (name, value) in [("size", size.map(Value::from)), ("parts", parts), ("tags", tags)] {
                if let Some(value) = value {
                    spec[name] = value;
                }
            }
            spec
        },
    )
}

proptest! {
    #[test]
    fn a_strategic_patch_without_lists_is_a_merge_patch(live in maps(), patch in maps()) {
        let (live, patch) = (json!({"a": live}), json!({"a": patch}));
        prop_assert_eq!(strategic(&live, &patch, &widget()).expect("fits"), merge(&live, &patch));
    }

    #[test]
    fn applying_twice_is_applying_once(first in specs(), second in specs(), third in specs()) {
        let force = |live: Option<&Value>, spec: &Value, manager, second| {
            let options = ApplyOptions { force: true, ..options(manager, second) };
            apply(live, &object(spec.clone()), &widget(), &options).expect("forced")
        };
        let live = force(None, &first, "a", 0);
        let live = force(Some(&live), &second, "b", 1);
        let once = force(Some(&live), &third, "a", 2);
        prop_assert_eq!(&force(Some(&once), &third, "a", 3), &once);
    }
}

#[test]
fn a_json_patch_whose_copies_double_each_time_is_refused_before_it_has_made_much() {
    let live = object(json!({"tags": ["0123456789abcdef"]}));
    // Each puts all that is there into itself: 3 KB of patch, 2^40 bytes of object.
    let doubling: Vec<Value> = (0..40).map(|round| json!({"op": "copy", "from": "/spec", "path": format!("/spec/copy{round}")})).collect();
    let Err(PatchError::TooLarge(why)) = json(&live, &doubling.into()) else { panic!("not refused") };
    assert!(why.contains("the copy operations of the JSON patch make more than 3145728 bytes"), "{why}");
    let few: Vec<Value> = (0..10).map(|round| json!({"op": "copy", "from": "/spec", "path": format!("/spec/copy{round}")})).collect();
    assert!(json(&live, &few.into()).is_ok());
}

#[test]
fn a_json_patch_has_as_many_operations_as_kubernetes_takes() {
    let live = object(json!({"size": 1}));
    let patch = |count: usize| Value::from(vec![json!({"op": "replace", "path": "/spec/size", "value": 2}); count]);
    assert!(json(&live, &patch(10_000)).is_ok());
    let Err(PatchError::TooLarge(why)) = json(&live, &patch(10_001)) else { panic!("not refused") };
    assert_eq!(why, "The allowed maximum operations in a JSON patch is 10000, got 10001");
}
