//! Over generated services: the render never panics, its parts agree, and it is the same each time.
use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{CONTAINER, Surroundings, app, objects, pod, service, with_door, written};
use mesh_api::labels;

fn spec() -> impl Strategy<Value = Value> {
    let parts = (
        option::of(select(vec!["Frontend", "Backend", "Worker"])),
        option::of(1_u16..),
        option::of(0_i32..5),
        option::of(select(vec!["0s", "1ms", "30s", "99999h"])),
        option::of(0_i64..86_401),
        vec((select(vec!["A", "PORT", "MESH_REVISION", "MESH_POD_UID", "MESH_AGENT", "B_2"]), "[ -~]{0,6}"), 0..4),
        option::of(any::<bool>()),
        option::of(select(vec![0_i64, 1, 65532])),
        vec(
            (select(vec!["data", "mesh-tmp", "x"]), select(vec!["/tmp", "/tmp/", "/data", "/.mesh", "/run/x", "/run/mesh"]), 0..5_usize),
            0..3,
        ),
        option::of(template()),
    );
    let rest = (any::<bool>(), option::of(select(vec!["1000m", "0.5", "2"])), option::of(select(vec!["0", "1", "0%", "50%", "100%"])));
    (parts, rest).prop_map(|((type_, port, replicas, drain, grace, env, read_only, user, volumes, template), (headless, cpu, share))| {
        let env: Vec<Value> = env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        let sources = |kind| match kind {
            0 => json!({"emptyDir": {}}),
            1 => json!({"hostPath": {"path": "/x"}}),
            2 => json!({"configMap": {"name": "c", "optional": true}}),
            3 => json!({"secret": {"secretName": "s"}}),
            _ => json!({"persistentVolumeClaim": {"claimName": "p"}}),
        };
        let mounts: Vec<Value> = volumes.iter().map(|(name, path, _)| json!({"name": name, "mountPath": path})).collect();
        let named: std::collections::BTreeMap<_, _> = volumes.into_iter().map(|(name, _, kind)| (name, sources(kind))).collect();
        let volumes: Vec<Value> = named
            .into_iter()
            .map(|(name, mut source)| {
                source["name"] = json!(name);
                source
            })
            .collect();
        let mut spec = json!({
            "env": env, "volumes": volumes, "volumeMounts": mounts,
            "kubernetes": {"headlessService": headless},
        });
        let more: [(&str, Option<Value>); 8] = [
            ("type", type_.map(Value::from)),
            ("port", port.map(Value::from)),
            ("replicas", replicas.map(Value::from)),
            ("terminationGracePeriodSeconds", grace.map(Value::from)),
            ("drain", drain.map(|timeout| json!({"timeout": timeout}))),
            ("securityContext", read_only.map(|read_only| json!({"readOnlyRootFilesystem": read_only, "runAsUser": user}))),
            ("resources", cpu.map(|cpu| json!({"limits": {"cpu": cpu}}))),
            ("rollout", share.map(|share| json!({"maxUnavailable": share, "maxSurge": share}))),
        ];
        spec.as_object_mut().unwrap().extend(more.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
        if let Some(template) = template {
            spec["kubernetes"]["podTemplate"] = template;
        }
        spec
    })
}

/// Patches of true and false fields.
fn template() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from)
    ];
    let names = || {
        select(vec!["metadata", "labels", "spec", "containers", "name", "image", "env", "volumes", "app", "resources", "limits", "nope"])
    };
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((names(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())),
        ]
    })
}

/// No empty list, map or text, and no null: an API server would leave it out.
fn holds_nothing_empty(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty() && list.iter().all(holds_nothing_empty),
        Value::Object(map) => map.iter().all(|(key, value)| key == "emptyDir" || holds_nothing_empty(value)),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_parts_of_a_service_agree(spec in spec(), routers in any::<bool>(), autoscaled in option::of(0_i32..4)) {
        let around = Surroundings { drain: with_door().drain.filter(|_| routers), door: with_door().door.filter(|_| routers), autoscaled };
        let patched = spec["kubernetes"].get("podTemplate").is_some();
        let service = service(spec);
        let made = objects(&service, &around);
        prop_assert_eq!(&made, &objects(&service, &around));
        let Ok(made) = made else { return Ok(()) };

        let selector = json!({labels::SERVICE: "web"});
        let deployment = &made.deployment;
        prop_assert_eq!(written(&deployment.spec.selector.match_labels), selector.clone());
        let pods = deployment.spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
        prop_assert_eq!(&pods[labels::SERVICE], "web");
        prop_assert_eq!(&pods[labels::REVISION], &made.revision);
        for service in &made.services {
            prop_assert_eq!(written(&service.spec.as_ref().unwrap().selector), selector.clone());
        }
        if let Some(budget) = &made.budget {
            prop_assert_eq!(written(&budget.spec.as_ref().unwrap().selector), json!({"matchLabels": selector}));
        }

        let (pod, app) = (pod(&made), app(&made));
        prop_assert_eq!(pod.containers.iter().filter(|container| container.name == CONTAINER).count(), 1);
        let volumes: BTreeSet<_> = pod.volumes.iter().flatten().map(|volume| &volume.name).collect();
        prop_assert!(patched || app.volume_mounts.iter().flatten().all(|mount| volumes.contains(&mount.name)));
        let hooked = app.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.pre_stop.is_some());
        let grace = pod.termination_grace_period_seconds.unwrap();
        prop_assert!(!hooked || u64::try_from(grace).unwrap() >= service.spec.drain.timeout.get().as_secs() + 2);
        prop_assert!(patched || holds_nothing_empty(&written(deployment)), "{}", written(deployment));
    }
}
