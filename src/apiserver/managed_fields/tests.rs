//! Sentences about who owns what after updates.
#![expect(clippy::needless_pass_by_value, reason = "a table reads better with the values made in their places")]
use serde_json::{Value, json};

use super::*;

const VERSION: &str = "judge.example/v1";

fn schema() -> Schema {
    Schema::from_open_api(&json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer", "default": 1},
            "colour": {"type": "string"},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "plain": {"type": "array", "items": {"type": "string"}},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "qty": {"type": "integer"}}}},
        }},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
    }}))
    .expect("structural")
    .with_status_subresource(true)
}

fn at(second: i8) -> Timestamp {
    Timestamp::new(1_763_714_286 + i64::from(second), 500).expect("a time")
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": VERSION, "kind": "Widget", "metadata": {"name": "w", "uid": "u"}, "spec": spec})
}

fn updated(old: Option<&Value>, mut new: Value, manager: &str, second: i8) -> Value {
    record_update(old, &mut new, manager, VERSION, None, at(second), &schema());
    new
}

/// `manager operation` and the fields of each entry.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    entries
        .iter()
        .map(|entry| {
            (format!("{} {}", entry["manager"].as_str().unwrap(), entry["operation"].as_str().unwrap()), entry["fieldsV1"].clone())
        })
        .collect()
}

#[test]
fn a_creator_owns_everything_it_made_but_what_the_server_owns() {
    let mut new = object(json!({"size": 1, "parts": [{"name": "p", "qty": 2}], "tags": ["t"], "plain": ["a"]}));
    new["metadata"]["labels"] = json!({"a": "b"});
    let new = updated(None, new, "fm", 0);
    assert_eq!(
        new["metadata"]["managedFields"],
        json!([{
            "manager": "fm", "operation": "Update", "apiVersion": VERSION, "time": "2025-11-21T08:38:06Z", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {
                    ".": {}, "f:size": {}, "f:plain": {},
                    "f:parts": {".": {}, "k:{\"name\":\"p\"}": {".": {}, "f:name": {}, "f:qty": {}}},
                    "f:tags": {".": {}, "v:\"t\"": {}},
                },
            },
        }])
    );
}

#[test]
fn an_update_takes_over_what_it_changes_and_only_that() {
    let first = updated(None, object(json!({"size": 1, "colour": "red"})), "a", 0);
    let mut second = first.clone();
    second["spec"]["size"] = json!(2);
    let second = updated(Some(&first), second, "b", 5);
    assert_eq!(
        owners(&second),
        [("a Update".to_owned(), json!({"f:spec": {".": {}, "f:colour": {}}})), ("b Update".to_owned(), json!({"f:spec": {"f:size": {}}})),]
    );
    let entries = &second["metadata"]["managedFields"];
    assert_eq!((&entries[0]["time"], &entries[1]["time"]), (&json!("2025-11-21T08:38:06Z"), &json!("2025-11-21T08:38:11Z")));
}

#[test]
fn an_update_that_changes_nothing_leaves_the_entries_as_they_were() {
    let first = updated(None, object(json!({"size": 1})), "a", 0);
    for manager in ["a", "b"] {
        assert_eq!(updated(Some(&first), first.clone(), manager, 9), first);
        let mut forgetful = first.clone();
        forgetful["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(updated(Some(&first), forgetful, manager, 9), first);
    }
}

#[test]
fn removed_fields_have_no_owner_and_an_empty_entry_goes() {
    let first = updated(None, object(json!({"size": 1})), "a", 0);
    let mut second = first.clone();
    second["spec"]["colour"] = json!("red");
    let second = updated(Some(&first), second, "b", 1);
    let mut third = second.clone();
    third["spec"].as_object_mut().unwrap().remove("colour");
    let third = updated(Some(&second), third, "c", 2);
    assert_eq!(owners(&third), [("a Update".to_owned(), json!({"f:spec": {".": {}, "f:size": {}}}))]);
}

#[test]
fn a_client_resets_the_entries_with_an_empty_list_or_an_empty_entry() {
    let first = updated(None, object(json!({"size": 1})), "a", 0);
    for reset in [json!([]), json!([{}])] {
        let mut second = first.clone();
        second["metadata"]["managedFields"] = reset;
        assert_eq!(owners(&updated(Some(&first), second, "b", 1)), []);
    }
    let mut renamed = first.clone();
    renamed["metadata"]["managedFields"][0]["manager"] = json!("z");
    assert_eq!(owners(&updated(Some(&first), renamed, "b", 1))[0].0, "z Update");
}

#[test]
fn a_status_update_owns_status_under_its_subresource_and_nothing_else() {
    let first = updated(None, object(json!({"size": 1})), "a", 0);
    let mut second = first.clone();
    second["status"] = json!({"phase": "Ready"});
    record_update(Some(&first), &mut second, "a", VERSION, Some("status"), at(1), &schema());
    let entry = &second["metadata"]["managedFields"][1];
    assert_eq!((&entry["subresource"], &entry["fieldsV1"]), (&json!("status"), &json!({"f:status": {".": {}, "f:phase": {}}})));
    assert_eq!(second["metadata"]["managedFields"][0], first["metadata"]["managedFields"][0]);
}

#[test]
fn a_crowd_of_managers_is_merged() {
    let mut object = updated(None, object(json!({"size": 0})), "m00", 0);
    for number in 1..=15 {
        let mut next = object.clone();
        next["metadata"]["labels"][format!("l{number:02}")] = json!("x");
        object = updated(Some(&object), next, &format!("m{number:02}"), number);
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 10);
    assert!(owners.iter().any(|(manager, _)| manager == "ancient-changes Update"));
    assert!(owners.iter().any(|(manager, _)| manager == "m15 Update"));
}

#[test]
fn sets_of_fields_survive_being_written_and_read() {
    let text = json!({"f:a": {".": {}, "f:b": {}}, "f:l": {"k:{\"n\":1,\"p\":\"T\"}": {".": {}, "f:n": {}}, "v:\"x\"": {}}});
    assert_eq!(FieldSet::parse(&text).encode(), text);
    assert_eq!(FieldSet::parse(&text).paths(), [".a", ".a.b", ".l[n=1,p=\"T\"]", ".l[n=1,p=\"T\"].n", ".l[=\"x\"]"]);
    assert!(FieldSet::of(&["a"]).difference(&FieldSet::of(&["a"])).is_empty());
}
