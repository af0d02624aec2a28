//! Services and instances for the tests of this module: `ready(instance("b", 0))`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "for tests only: what fails here fails the test"
)]
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{Value, json};

use mesh_api::{
    MeshInstance, MeshInstanceStatus, MeshService,
    conditions::{Want, instance as reason},
};

/// A second of the tests' own time.
pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The service `shop/web` of generation 2, made at second 100, with this spec; a command is given.
pub fn service(spec: Value) -> MeshService {
    let mut object = json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService",
        "metadata": {"name": "web", "namespace": "shop", "uid": "service", "generation": 2, "creationTimestamp": "1970-01-01T00:01:40Z"},
        "spec": {"command": ["web"]},
    });
    let Value::Object(spec) = spec else { panic!("a spec is a map: {spec}") };
    object["spec"].as_object_mut().unwrap().extend(spec);
    serde_json::from_value(object).unwrap()
}

/// An instance of `shop/web` of this revision and number, made at second 100, not observed yet.
pub fn instance(revision: &str, ordinal: u32) -> MeshInstance {
    serde_json::from_value(json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshInstance",
        "metadata": {
            "name": format!("web-{revision}-{ordinal}"), "namespace": "shop", "uid": format!("{revision}{ordinal}"),
            "creationTimestamp": "1970-01-01T00:01:40Z",
        },
        "spec": {
            "service": "web", "revision": revision, "ordinal": ordinal, "nodeName": "here", "serves": true,
            "drainTimeout": "30s", "logs": {"maxSize": "1Mi", "maxFiles": 2},
            "template": {"command": ["web"], "terminationGracePeriodSeconds": 10},
        },
    }))
    .unwrap()
}

/// The same instance, not ready for this reason since second 110.
pub fn unready(mut instance: MeshInstance, reason: &'static str, message: &str) -> MeshInstance {
    instance.status = Some(status(Want::new(reason::READY, false, reason, message).over(&[], None, at(110))));
    instance
}

/// The same instance, ready since second 110, at 127.0.0.1:20000.
pub fn ready(mut instance: MeshInstance) -> MeshInstance {
    instance.status = Some(status(Want::new(reason::READY, true, reason::RUNNING, "").over(&[], None, at(110))));
    instance
}

fn status(ready: Condition) -> MeshInstanceStatus {
    MeshInstanceStatus { address: Some("127.0.0.1:20000".to_owned()), conditions: vec![ready], ..MeshInstanceStatus::default() }
}

/// The same instance, deleted at second 120.
pub fn deleted(mut instance: MeshInstance) -> MeshInstance {
    instance.metadata.deletion_timestamp = Some(Time(at(120)));
    instance
}
