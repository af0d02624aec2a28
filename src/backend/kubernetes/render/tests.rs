//! What is rendered, looked at as values; whole objects are in tests/golden/kubernetes, and a real API server looks at them in tests/cluster.
mod generated;
mod refusals;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde_json::{Value, json};

use super::*;
use mesh_api::{labels, names::CONTAINER};
use mesh_plan::fixture;

/// A service of this spec, with an image.
fn service(spec: Value) -> MeshService {
    let mut service = fixture::service(spec);
    service.spec.command = None;
    service.spec.image.get_or_insert("quay.io/you/web:1".to_owned());
    service
}

/// A cluster with routers.
fn routed() -> Surroundings {
    let hook = DrainHook { address: "10.0.0.9:9464".parse().unwrap(), image: "localhost/mesh-controller:test".to_owned() };
    Surroundings { drain: Some(hook), ..Surroundings::default() }
}

fn made(spec: Value) -> Objects {
    objects(&service(spec), &routed()).unwrap()
}

fn pod(objects: &Objects) -> &PodSpec {
    objects.deployment.spec.template.spec.as_ref().unwrap()
}

fn app(objects: &Objects) -> &Container {
    pod(objects).containers.iter().find(|container| container.name == CONTAINER).unwrap()
}

fn written<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn the_drain_hook_has_the_time_that_it_needs() {
    for (spec, wait, grace) in [
        (json!({}), Some("30"), 62),
        (json!({"drain": {"timeout": "1500ms"}, "terminationGracePeriodSeconds": 5}), Some("2"), 9),
        (json!({"drain": {"timeout": "0s"}}), None, 30),
        (json!({"type": "Worker"}), None, 30),
        (json!({"type": "Worker", "port": 80}), Some("30"), 62),
    ] {
        let objects = made(spec.clone());
        let hook = app(&objects).lifecycle.as_ref().map(|lifecycle| written(&lifecycle.pre_stop));
        let wanted = wait.map(|wait| json!({"exec": {"command": ["/.mesh/mesh-drain", "wait", "--timeout", wait]}}));
        assert_eq!((hook, pod(&objects).termination_grace_period_seconds), (wanted, Some(grace)), "{spec}");
        assert_eq!(pod(&objects).init_containers.is_some(), wait.is_some(), "{spec}");
    }
    let alone = objects(&service(json!({})), &Surroundings::default()).unwrap();
    assert!(app(&alone).lifecycle.is_none() && pod(&alone).init_containers.is_none());
    assert_eq!(pod(&alone).termination_grace_period_seconds, Some(30));
}

#[test]
fn the_installer_of_the_hook_changes_neither_quality_nor_quota() {
    let objects = made(json!({"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}));
    let installer = &pod(&objects).init_containers.as_ref().unwrap()[0];
    assert_eq!(installer.resources, app(&objects).resources);
    assert_eq!(written(&installer.resources), json!({"limits": {"cpu": "1", "memory": "1Gi"}}));
}

#[test]
fn a_budget_is_for_more_than_one_pod_and_lets_one_go() {
    let around = |autoscaled| Surroundings { autoscaled, ..routed() };
    for (spec, autoscaled, allowed) in [
        (json!({}), None, None),
        (json!({"replicas": 0}), None, None),
        (json!({"replicas": 3}), None, Some(json!(1))),
        (json!({"replicas": 3, "rollout": {"maxUnavailable": 2}}), None, Some(json!(2))),
        (json!({"replicas": 3, "rollout": {"maxUnavailable": "25%"}}), None, Some(json!("25%"))),
        (json!({"replicas": 3, "rollout": {"maxUnavailable": "0%"}}), None, Some(json!(1))),
        (json!({"replicas": 3, "rollout": {"type": "Recreate", "maxUnavailable": 3}}), None, Some(json!(1))),
        (json!({"replicas": 1}), Some(4), Some(json!(1))),
        (json!({"replicas": 9}), Some(1), None),
    ] {
        let made = objects(&service(spec.clone()), &around(autoscaled)).unwrap();
        assert_eq!(made.budget.map(|budget| written(&budget.spec.unwrap().max_unavailable)), allowed, "{spec} {autoscaled:?}");
        assert_eq!(made.deployment.spec.replicas.is_none(), autoscaled.is_some(), "{spec}");
    }
}

#[test]
fn a_service_that_serves_is_ready_when_it_listens_unless_it_says_otherwise() {
    for (spec, probe) in [
        (json!({}), json!({"tcpSocket": {"port": 8080}, "periodSeconds": 2})),
        (json!({"type": "Worker"}), Value::Null),
        (
            json!({"healthPath": "/h", "port": 3000}),
            json!({"httpGet": {"path": "/h", "port": 3000}, "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}),
        ),
        (
            json!({"kubernetes": {"podTemplate": {"spec": {"containers": [{"name": "app", "readinessProbe": {"grpc": {"port": 8080}}}]}}}}),
            json!({"grpc": {"port": 8080}}),
        ),
    ] {
        assert_eq!(written(&app(&made(spec.clone())).readiness_probe), probe, "{spec}");
    }
}

#[test]
fn a_pod_of_which_nothing_can_be_asked_takes_anothers_place_only_after_a_while() {
    let probe = json!({"exec": {"command": ["true"]}});
    for (spec, seconds) in [
        (json!({"type": "Worker"}), Some(2)),
        (json!({}), None),
        (json!({"type": "Worker", "port": 80}), None),
        (json!({"type": "Worker", "readinessProbe": probe}), None),
        (json!({"type": "Worker", "startupProbe": probe}), None),
    ] {
        assert_eq!(made(spec.clone()).deployment.spec.min_ready_seconds, seconds, "{spec}");
    }
}

#[test]
fn the_meshs_own_variables_come_first_and_cannot_be_taken() {
    let objects = made(json!({"env": [
        {"name": "MESH_SERVICE", "value": "x"}, {"name": "PORT", "value": "1"}, {"name": "URL", "value": "http://x:$(PORT)"}, {"name": "EMPTY", "value": ""},
    ]}));
    let names: Vec<_> = app(&objects).env.iter().flatten().map(|var| (var.name.as_str(), var.value.as_deref())).collect();
    assert_eq!(
        names,
        [
            ("MESH_REVISION", Some(objects.revision.as_str())),
            ("MESH_SERVICE", Some("web")),
            ("MESH_INSTANCE", None),
            ("MESH_NAMESPACE", None),
            ("PORT", Some("8080")),
            ("URL", Some("http://x:$(PORT)")),
            ("EMPTY", None),
            ("MESH_DRAIN_ADDRESS", Some("10.0.0.9:9464")),
            ("MESH_POD_UID", None),
        ]
    );
}

/// Routers and agents.
fn with_door() -> Surroundings {
    let door = Door { agent: "http://mesh-agent.mesh-system".to_owned(), router: Some("http://mesh-router.mesh-system".to_owned()) };
    Surroundings { door: Some(door), ..routed() }
}

#[test]
fn where_there_is_an_agent_a_program_is_told_of_it_and_has_a_token_that_nobody_else_takes() {
    let mut service =
        service(json!({"type": "Backend", "env": [{"name": "MESH_AGENT", "value": "x"}, {"name": "URL", "value": "$(MESH_AGENT)"}]}));
    service.metadata.labels = Some([(labels::APP_PART_OF.to_owned(), "shop".to_owned())].into());
    let told = objects(&service, &with_door()).unwrap();
    let variable = |name: &str| {
        app(&told).env.iter().flatten().filter(|var| var.name == name).map(|var| var.value.clone().unwrap()).collect::<Vec<_>>()
    };
    for (name, value) in [
        ("MESH_AGENT", "http://mesh-agent.mesh-system"),
        ("MESH_TOKEN_FILE", "/run/mesh/token/token"),
        ("MESH_ROUTER_URL", "http://mesh-router.mesh-system"),
        ("MESH_APP", "shop"),
        ("MESH_SERVICE_TYPE", "Backend"),
        ("URL", "$(MESH_AGENT)"),
    ] {
        assert_eq!(variable(name), [value], "{name}");
    }
    let volume = pod(&told).volumes.iter().flatten().find(|volume| volume.name == "mesh-token").unwrap();
    let token = json!({"audience": "mesh-controller.dev", "expirationSeconds": 3600, "path": "token"});
    assert_eq!(written(&volume.projected), json!({"defaultMode": 420, "sources": [{"serviceAccountToken": token}]}));
    let mount = app(&told).volume_mounts.iter().flatten().find(|mount| mount.name == "mesh-token").unwrap();
    assert_eq!(written(mount), json!({"name": "mesh-token", "mountPath": "/run/mesh/token", "readOnly": true}));
    assert_eq!(pod(&told).automount_service_account_token, Some(false));
    assert!(has_door(&told.deployment));

    let alone = objects(&service, &routed()).unwrap();
    assert!(!has_door(&alone.deployment) && !written(&alone.deployment).to_string().contains("mesh-token"));
    assert!(app(&alone).env.iter().flatten().any(|var| var.name == "MESH_AGENT" && var.value.as_deref() == Some("x")));
}

#[test]
fn what_replaces_pods_makes_a_new_revision_and_what_does_not_makes_none() {
    let plain = made(json!({})).revision;
    for same in [json!({"replicas": 5}), json!({"route": "/"}), json!({"rollout": {"type": "Recreate"}}), json!({"logs": {"maxFiles": 2}})]
    {
        assert_eq!(made(same.clone()).revision, plain, "{same}");
    }
    let patch = json!({"kubernetes": {"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}}}});
    for other in [json!({"image": "web:2"}), json!({"drain": {"timeout": "1s"}}), patch] {
        assert_ne!(made(other.clone()).revision, plain, "{other}");
    }
    let mut restarted = service(json!({}));
    restarted.metadata.annotations = Some([(labels::RESTARTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned())].into());
    assert_ne!(objects(&restarted, &routed()).unwrap().revision, plain);
}

#[test]
fn routers_find_the_slices_of_one_service_object_only() {
    let objects = made(json!({"kubernetes": {"headlessService": true, "trafficDistribution": "PreferClose"}}));
    let [cluster, headless] = objects.services.as_slice() else { panic!("{:?}", objects.services) };
    assert_eq!(written(&cluster.spec.as_ref().unwrap().traffic_distribution), "PreferClose");
    let labels = headless.metadata.labels.as_ref().unwrap();
    assert!(!labels.contains_key(labels::SERVICE) && !labels.contains_key(labels::APP_MANAGED_BY), "{labels:?}");
    assert_eq!((headless.metadata.name.as_deref(), labels["app.kubernetes.io/component"].as_str()), (Some("web-headless"), "headless"));
    let worker = made(json!({"type": "Worker"}));
    assert!(worker.services.is_empty());
    let found = made(json!({"type": "Worker", "kubernetes": {"headlessService": true}})).services;
    assert_eq!(
        written(&found[0].spec),
        json!({"clusterIP": "None", "selector": {"mesh-controller.dev/service": "web"}, "type": "ClusterIP"})
    );
}

#[test]
fn a_pod_template_is_merged_by_name() {
    let objects = made(json!({
        "env": [{"name": "A", "value": "1"}],
        "kubernetes": {"podTemplate": {
            "metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}},
            "spec": {
                "serviceAccountName": "other",
                "tolerations": [{"operator": "Exists"}],
                "topologySpreadConstraints": [],
                "containers": [
                    {"name": "app", "env": [{"name": "B", "value": "2"}], "resources": {"limits": {"example.com/gpu": 1}}},
                    {"name": "beside", "image": "beside:1"},
                ],
                "volumes": [{"name": "mesh-tmp", "emptyDir": {"sizeLimit": "1024Ki"}}],
            },
        }},
    }));
    let (pod, app) = (pod(&objects), app(&objects));
    assert_eq!(app.env.iter().flatten().filter(|var| ["A", "B"].contains(&var.name.as_str())).count(), 2);
    assert_eq!(written(&app.resources), json!({"limits": {"example.com/gpu": "1"}}));
    assert_eq!(pod.containers.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["app", "beside"]);
    assert!(objects.account.is_none() && pod.service_account_name.as_deref() == Some("other"));
    assert!(pod.topology_spread_constraints.is_none());
    let tmp = pod.volumes.iter().flatten().find(|volume| volume.name == "mesh-tmp").unwrap();
    assert_eq!(written(&tmp.empty_dir), json!({"medium": "Memory", "sizeLimit": "1Mi"}));
    let metadata = objects.deployment.spec.template.metadata.as_ref().unwrap();
    assert_eq!(metadata.labels.as_ref().unwrap()["team"], "a");
}

#[test]
fn what_a_cluster_does_without_is_told() {
    assert_eq!(unhonoured(&service(json!({})).spec), None);
    let spec = service(json!({"logs": {"maxFiles": 2}, "livenessProbe": {"tcpSocket": {}, "successThreshold": 2}})).spec;
    let told = unhonoured(&spec).unwrap();
    assert!(told.contains("spec.logs: ") && told.contains("spec.livenessProbe.successThreshold 2: "), "{told}");
}
