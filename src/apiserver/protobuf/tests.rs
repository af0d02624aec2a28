//! Bytes that kubectl 1.32.4 sent, captured from its requests, and the JSON that they stand for.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

#[track_caller]
fn check(hex: &str, expected: &Value) {
    assert_eq!(&decode(&bytes(hex)).expect("a body"), expected);
}

#[test]
fn kubectl_create_namespace_is_read() {
    let hex = "6b3873000a0f0a02763112094e616d657370616365121c0a140a0473686f7012001a0022002a0032003800420012001a020a001a002200";
    check(hex, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}, "spec": {}, "status": {}}));
}

#[test]
fn kubectl_create_configmap_is_read() {
    let hex = "6b3873000a0f0a0276311209436f6e6669674d617012350a180a0873657474696e677312001a0022002a00320038004200120e0a06636f6c6f75721204626c756512090a0473697a651201331a002200";
    check(
        hex,
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "blue", "size": "3"}}),
    );
}

#[test]
fn kubectl_create_secret_is_read_with_its_data_in_base64() {
    let hex = "6b3873000a0c0a027631120653656372657412290a140a046b65797312001a0022002a00320038004200120f0a05746f6b656e12067333637265741a001a002200";
    check(hex, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"token": "czNjcmV0"}}));
}

#[test]
fn kubectl_create_service_is_read_with_a_numeric_target_port() {
    let hex = "6b3873000a0d0a02763112075365727669636512690a1f0a0377656212001a0022002a003200380042005a0a0a03617070120377656212420a1b0a0738302d38303830120354435018502207080010903f1a002800120a0a0361707012037765621a002209436c757374657249503a00420052005a00600068001a020a001a002200";
    check(
        hex,
        &json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {
                "ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
                "selector": {"app": "web"}, "type": "ClusterIP",
            },
            "status": {"loadBalancer": {}},
        }),
    );
}

#[test]
fn kubectl_create_serviceaccount_is_read() {
    let hex = "6b3873000a140a027631120e536572766963654163636f756e7412170a150a05726f626f7412001a0022002a003200380042001a002200";
    check(hex, &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}));
}

#[test]
fn kubectl_auth_can_i_is_read_with_its_nested_attributes() {
    let hex = "6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a656374416363657373526576696577123f0a100a0012001a0022002a0032003800420012210a1f0a0764656661756c7412066372656174651a0022002a04706f647332003a001a08080012001a0020001a002200";
    let object = decode(&bytes(hex)).expect("a body");
    assert_eq!(object["spec"], json!({"resourceAttributes": {"namespace": "default", "verb": "create", "resource": "pods"}}));
    assert_eq!(object["kind"], "SelfSubjectAccessReview");
}

#[test]
fn kubectl_create_token_is_read() {
    let hex = "6b3873000a280a1861757468656e7469636174696f6e2e6b38732e696f2f7631120c546f6b656e52657175657374121d0a100a0012001a0022002a00320038004200120320901c1a040a0012001a002200";
    let object = decode(&bytes(hex)).expect("a body");
    assert_eq!(object["spec"], json!({"expirationSeconds": 3600}));
}

#[test]
fn kubectl_auth_can_i_list_is_read() {
    let hex = "6b3873000a310a17617574686f72697a6174696f6e2e6b38732e696f2f7631121653656c665375626a65637452756c657352657669657712200a100a0012001a0022002a0032003800420012060a0473686f701a04180022001a002200";
    assert_eq!(decode(&bytes(hex)).expect("a body")["spec"], json!({"namespace": "shop"}));
}

#[test]
fn a_lease_keeps_its_microseconds() {
    let time = [0x08, 0xee, 0xe8, 0x80, 0xc9, 0x06, 0x10, 0xc0, 0xc0, 0xf5, 0x3a];
    let mut spec = vec![0x22, u8::try_from(time.len()).expect("short")];
    spec.extend(time);
    let mut raw = vec![0x12, u8::try_from(spec.len()).expect("short")];
    raw.extend(&spec);
    let lease = read_message("coordination.Lease", &raw, DEPTH).expect("a lease");
    let time = lease["spec"]["renewTime"].as_str().expect("a time");
    assert!(time.ends_with(".123560Z"), "{time}");
}

#[test]
fn a_kind_that_is_not_served_is_named() {
    let error = decode(b"k8s\0\x0a\x0b\x0a\x02v1\x12\x05Thing").expect_err("no such kind");
    assert_eq!(error.to_string(), "no kind \"Thing\" is registered for version \"v1\" in scheme");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let prefixed = [b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12".as_slice(), &bytes].concat();
        let _ = decode(&prefixed);
    }
}
