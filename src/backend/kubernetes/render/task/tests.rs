//! What a task's runs are, looked at as values; a whole CronJob is in tests/golden/kubernetes, and a real API server looks at it in tests/cluster.
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use serde_json::{Value, json};

use super::*;
use mesh_plan::fixture;

fn task(spec: &Value) -> MeshTask {
    let object = json!({
        "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask",
        "metadata": {"name": "nightly", "namespace": "shop", "uid": "t"}, "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn of_web(more: Value) -> MeshService {
    let mut web = fixture::service(more);
    web.metadata.name = Some("web".to_owned());
    web.spec.command = None;
    web.spec.image = Some("web:1".to_owned());
    web
}

fn template(objects: &Objects) -> &PodTemplateSpec {
    &objects.run.spec.as_ref().unwrap().template
}

fn pod(objects: &Objects) -> &PodSpec {
    template(objects).spec.as_ref().unwrap()
}

fn refused(spec: &Value) -> String {
    let refusal = objects(&task(spec), None, None).unwrap_err();
    assert_eq!(refusal.reason, UNSUPPORTED);
    refusal.message
}

#[test]
fn what_a_cron_job_cannot_do_is_refused_by_field_and_with_the_remedy() {
    let template = json!({"image": "x"});
    for (spec, message) in [
        (
            json!({"template": template, "schedule": "*/20 * * * * *"}),
            "spec.schedule: \"*/20 * * * * *\": a CronJob starts once a minute at most: write five fields, without the second",
        ),
        (
            json!({"template": template, "schedule": "@every 59s"}),
            "spec.schedule: \"@every 59s\": a CronJob starts once a minute at most: make the interval 1m or more",
        ),
        (json!({"template": template, "schedule": "@daily", "jitter": "5m"}), "spec.jitter: a CronJob has none: leave it out"),
        (
            json!({"http": {"service": "web", "path": "/tidy"}}),
            "spec.http: a cluster runs no requests: give a template in its place, with an image that has curl and the command \
             [curl, --fail, --request, POST, http://web:8080/tidy]",
        ),
    ] {
        let told = refused(&spec);
        assert!(told.starts_with(message), "{told}");
    }
    for schedule in ["@every 1m", "@every 1h30m", "@daily", "0 3 * * *"] {
        assert!(objects(&task(&json!({"template": template, "schedule": schedule})), None, None).unwrap().cron_job.is_some(), "{schedule}");
    }
}

#[test]
fn a_task_without_a_schedule_has_no_cron_job_and_a_run_that_is_asked_for_is_its_own_job() {
    let task = task(&json!({"template": {"image": "x", "args": ["a"]}, "backoffLimit": 2}));
    let objects = objects(&task, None, None).unwrap();
    assert!(objects.cron_job.is_none());
    let made = |args: Option<&str>, before: Option<&str>| {
        job(&task, &objects.run, "nightly-1".to_owned(), args.map(|arg| vec![arg.to_owned()]), before.map(ToOwned::to_owned))
    };
    let args = |job: &Job| job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].args.clone().unwrap();
    let (own, asked) = (made(None, None), made(Some("b"), Some("web")));
    assert_eq!((args(&own), args(&asked)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!((own.labels().get(labels::BEFORE), asked.labels()[labels::BEFORE].as_str()), (None, "web"));
    assert_eq!((own.labels()[labels::TASK].as_str(), own.owner_references()[0].kind.as_str()), ("nightly", "MeshTask"));
    assert_eq!(own.spec.unwrap().backoff_limit, Some(2));
}

#[test]
fn a_run_in_a_services_image_is_no_pod_of_the_service_and_nothing_holds_up_its_end() {
    let web = of_web(json!({
        "port": 80, "healthPath": "/health", "env": [{"name": "A", "value": "1"}, {"name": "MESH_TASK", "value": "mine"}],
        "kubernetes": {"podTemplate": {
            "metadata": {"labels": {"team": "a"}},
            "spec": {"serviceAccountName": "reader", "nodeSelector": {"disk": "fast"}, "containers": [{"name": "sidecar", "image": "s"}]},
        }},
    }));
    let door = Door { agent: "http://agent".to_owned(), router: None };
    let objects = objects(&task(&json!({"serviceRef": {"name": "web", "command": ["migrate"]}})), Some(&web), Some(&door)).unwrap();
    let pod = pod(&objects);
    let all: Vec<&str> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!((all, pod.restart_policy.as_deref()), (vec![CONTAINER], Some("Never")));
    let app = &pod.containers[0];
    assert_eq!((app.image.as_deref(), app.command.clone().unwrap()), (Some("web:1"), vec!["migrate".to_owned()]));
    assert!(app.ports.is_none() && app.readiness_probe.is_none() && app.lifecycle.is_none() && pod.init_containers.is_none());
    assert_eq!((pod.service_account_name.as_deref(), pod.topology_spread_constraints.as_ref()), (Some("reader"), None));
    assert_eq!(pod.node_selector.as_ref().unwrap()["disk"], "fast");
    let env: Vec<_> = app.env.iter().flatten().filter_map(|var| Some((var.name.as_str(), var.value.as_deref()?))).collect();
    let told = [
        ("MESH_TASK", "nightly"),
        ("MESH_INSTANCE_INDEX", "0"),
        ("MESH_SERVICE", "web"),
        ("MESH_AGENT", "http://agent"),
        ("MESH_TOKEN_FILE", "/run/mesh/token/token"),
        ("MESH_SERVICE_TYPE", "Backend"),
        ("A", "1"),
    ];
    assert_eq!(env[1..], told);
    let token = pod.volumes.iter().flatten().find_map(|volume| volume.projected.clone()?.sources?.remove(0).service_account_token);
    assert_eq!(token.unwrap().audience.as_deref(), Some("mesh-controller.dev"));
    let metadata = template(&objects).metadata.as_ref().unwrap();
    assert_eq!(metadata.annotations.as_ref().unwrap()[labels::SERVICE], "web", "by it the agent knows in whose place it runs");
    let labels = metadata.labels.as_ref().unwrap();
    assert_eq!((labels.get(labels::SERVICE), labels[labels::TASK].as_str(), labels["team"].as_str()), (None, "nightly", "a"));
}

#[test]
fn who_names_no_account_runs_as_the_one_that_the_command_is_of() {
    let account =
        |spec: &Value, service: Option<&MeshService>| pod(&objects(&task(spec), service, None).unwrap()).service_account_name.clone();
    let web = of_web(json!({"port": 80}));
    assert_eq!(account(&json!({"serviceRef": {"name": "web", "command": ["x"]}}), Some(&web)).as_deref(), Some("web"));
    assert_eq!(account(&json!({"template": {"image": "x"}}), None), None, "a task has none of its own");
}
