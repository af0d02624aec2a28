//! What is refused: each names the field and what would be right.
use serde_json::{Value, json};

use super::{objects, routed, service, with_door};
use mesh_api::conditions::service::INVALID_SPEC;
use mesh_plan::fixture;

fn refusal(spec: Value) -> String {
    let refusal = objects(&service(spec), &routed()).err();
    assert!(refusal.as_ref().is_none_or(|refusal| refusal.reason == INVALID_SPEC), "{refusal:?}");
    refusal.map(|refusal| refusal.message).unwrap_or_default()
}

fn patched(template: &Value) -> String {
    refusal(json!({
        "env": [{"name": "A", "value": "1"}], "healthPath": "/h",
        "volumes": [{"name": "data", "emptyDir": {}}], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "kubernetes": {"podTemplate": template},
    }))
}

#[test]
fn a_program_of_the_machine_is_no_pod() {
    let refusal = objects(&fixture::service(json!({})), &routed()).unwrap_err();
    assert!(refusal.message.starts_with("spec.image: this backend runs containers"), "{}", refusal.message);
}

#[test]
fn what_a_pod_cannot_be_is_refused_by_field() {
    let volume =
        |name: &str, path: &str| json!({"volumes": [{"name": name, "emptyDir": {}}], "volumeMounts": [{"name": name, "mountPath": path}]});
    for (spec, expected) in [
        (json!({"workingDir": "app"}), "spec.workingDir \"app\": a container's working directory is an absolute path"),
        (volume("mesh-run", "/x"), "spec.volumes[0].name: \"mesh-run\" is a volume that pods have anyway: choose another"),
        (volume("mesh-drain", "/x"), "spec.volumes[0].name: \"mesh-drain\""),
        (volume("x", "/.mesh/x"), "spec.volumeMounts[0].mountPath: /.mesh is where"),
        (volume("x", "/.meshes"), ""),
        (volume("mesh-token", "/x"), "spec.volumes[0].name: \"mesh-token\""),
        (volume("x", "/run/mesh/token"), "spec.volumeMounts[0].mountPath: /run/mesh/token is where pods have their token"),
        (json!({"rollout": {"maxSurge": "0%", "maxUnavailable": 0}}), "spec.rollout: maxSurge and maxUnavailable cannot both be 0"),
        (json!({"rollout": {"type": "Recreate", "maxSurge": 0, "maxUnavailable": 0}}), ""),
        (json!({"readinessProbe": {"tcpSocket": {"port": 81}}, "port": 80}), ""),
    ] {
        let found = refusal(spec.clone());
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{spec}: {found}");
    }
}

#[test]
fn a_pod_template_of_the_wrong_shape_is_refused_by_path() {
    for (template, expected) in [
        (json!([]), ": a pod template is a map"),
        (json!({"spec": {"nodeselector": {}}}), ".spec.nodeselector: a pod template has no such field"),
        (
            json!({"spec": {"containers": [{"name": "a", "image": "a"}, {"name": "app", "evn": []}]}}),
            ".spec.containers[1].evn: a pod template has no",
        ),
        (json!({"spec": {"priority": "high"}}), ".spec.priority: invalid type: string \"high\""),
        (json!({"spec": {"tolerations": [{}, {"key": 7}]}}), ".spec.tolerations[1].key: invalid type"),
        (json!({"spec": "x"}), ".spec: invalid type"),
        (json!({"spec": {"hostNetwork": null}}), ".spec.hostNetwork: a pod template adds to what is there"),
        (json!({"kind": "Pod"}), ".kind: a pod template has no such field"),
    ] {
        let found = patched(&template);
        assert!(found.starts_with(&format!("spec.kubernetes.podTemplate{expected}")), "{template}: {found}");
    }
}

#[test]
fn a_pod_template_that_breaks_a_promise_is_refused_by_path() {
    let app = |fields: Value| {
        let mut app = json!({"name": "app"});
        app.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"spec": {"containers": [app]}})
    };
    for (template, expected) in [
        (json!({"metadata": {"name": "x"}}), ".metadata.name: the cluster names pods"),
        (
            json!({"metadata": {"labels": {"mesh-controller.dev/service": "x"}}}),
            ".metadata.labels[mesh-controller.dev/service]: pods are found by it",
        ),
        (json!({"metadata": {"labels": {"mesh-controller.dev/revision": "x"}}}), ".metadata.labels[mesh-controller.dev/revision]"),
        (json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "x"}}}), ".metadata.labels[app.kubernetes.io/managed-by]"),
        (json!({"metadata": {"labels": {"app.kubernetes.io/name": "web"}}}), ""),
        (
            json!({"metadata": {"annotations": {"mesh-controller.dev/restarted-at": "x"}}}),
            ".metadata.annotations[mesh-controller.dev/restarted-at]",
        ),
        (
            json!({"spec": {"terminationGracePeriodSeconds": 31}}),
            ".spec.terminationGracePeriodSeconds: 31 s end before the drain has (spec.drain.timeout and 2 s more): make it 32 or more",
        ),
        (json!({"spec": {"terminationGracePeriodSeconds": 32}}), ""),
        (
            app(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}})),
            ".spec.containers[0].lifecycle.preStop: this hook waits for the routers",
        ),
        (app(json!({"lifecycle": {"postStart": {"exec": {"command": ["x"]}}}})), ""),
        (app(json!({"image": "x"})), ".spec.containers[0].image: the service has a field for it: give it in spec.image"),
        (app(json!({"command": ["x"]})), ".spec.containers[0].command: the service has a field"),
        (app(json!({"env": [{"name": "A", "value": "2"}]})), ".spec.containers[0].env[0].name: A is in spec.env already"),
        (app(json!({"env": [{"name": "PORT", "value": "2"}]})), ".spec.containers[0].env[0].name: PORT is what the mesh tells"),
        (
            app(json!({"ports": [{"containerPort": 8080, "name": "web"}]})),
            ".spec.containers[0].ports[0].name: port 8080 is the service's own",
        ),
        (
            app(json!({"ports": [{"containerPort": 9000, "name": "http"}]})),
            ".spec.containers[0].ports[0].name: http is what port 8080 is called",
        ),
        (app(json!({"ports": [{"containerPort": 9000, "name": "metrics"}]})), ""),
        (
            app(json!({"readinessProbe": {"tcpSocket": {"port": 1}}})),
            ".spec.containers[0].readinessProbe: spec.readinessProbe (or spec.healthPath) says",
        ),
        (
            app(json!({"volumeMounts": [{"name": "x", "mountPath": "/data"}]})),
            ".spec.containers[0].volumeMounts[0].mountPath: \"/data\" is in spec.volumeMounts",
        ),
        (
            json!({"spec": {"volumes": [{"name": "data", "hostPath": {"path": "/x"}}]}}),
            ".spec.volumes[0].name: \"data\" is in spec.volumes already",
        ),
        (json!({"spec": {"containers": [{"name": "beside"}]}}), ".spec.containers[0].image: \"beside\" is a container of its own"),
        (json!({"spec": {"containers": [{"image": "x"}]}}), ".spec.containers[0].name: a container needs a name"),
        (
            json!({"spec": {"initContainers": [{"name": "mesh-drain", "image": "x"}]}}),
            ".spec.initContainers[0].name: mesh-drain is the mesh's own",
        ),
        (json!({"spec": {"volumes": [{"name": "mesh-token", "emptyDir": {}}]}}), ".spec.volumes[0].name: mesh-token is the mesh's own"),
        (app(json!({"env": [{"name": "MESH_APP", "value": "x"}]})), ""),
    ] {
        let found = patched(&template);
        let expected = if expected.is_empty() { String::new() } else { format!("spec.kubernetes.podTemplate{expected}") };
        assert!(found.starts_with(&expected) && found.is_empty() == expected.is_empty(), "{template}: {found}");
    }
}

#[test]
fn with_a_door_its_variables_are_the_meshs() {
    let template = json!({"spec": {"containers": [{"name": "app", "env": [{"name": "MESH_AGENT", "value": "x"}]}]}});
    let refusal = objects(&service(json!({"kubernetes": {"podTemplate": template}})), &with_door()).unwrap_err().message;
    assert!(refusal.contains("env[0].name: MESH_AGENT is what the mesh tells the program"), "{refusal}");
}

#[test]
fn without_a_drain_hook_a_pod_may_have_one_of_its_own() {
    let template = json!({"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]}});
    assert_eq!(refusal(json!({"drain": {"timeout": "0s"}, "kubernetes": {"podTemplate": template}})), "");
}
