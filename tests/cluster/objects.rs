//! What a service is in a cluster: as it stands in tests/golden/kubernetes (`UPDATE_GOLDEN=1` accepts what was made), and as a real API server takes it.
use std::{fs, path::PathBuf};

use mesh_controller::{
    api::{MeshService, MeshTask},
    backend::kubernetes::render::{Door, DrainHook, Objects, Surroundings, objects, task},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::machine::Cluster;

fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/golden/kubernetes", name].iter().collect()
}

fn read<K: DeserializeOwned>(file: &PathBuf, namespace: &str) -> Vec<K> {
    let text = fs::read_to_string(file).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let stored = |mut object: Value| {
        object["metadata"]["namespace"] = json!(namespace);
        object["metadata"]["uid"] = json!("00000000-0000-0000-0000-000000000001");
        serde_json::from_value(object).unwrap()
    };
    objects.into_iter().map(stored).collect()
}

fn services(file: &PathBuf, namespace: &str) -> Vec<MeshService> {
    read(file, namespace)
}

/// The CronJobs of the golden tasks.
fn cron_jobs(namespace: &str) -> Vec<Value> {
    let services = services(&golden("services.yaml"), namespace);
    let made = |task: &MeshTask| {
        let service = task.spec.service_ref.as_ref().map(|service| &service.name);
        let service = services.iter().find(|found| found.metadata.name.as_ref() == service);
        let made = task::objects(task, service, Some(&door())).unwrap_or_else(|refusal| panic!("{}", refusal.message));
        serde_json::to_value(made.cron_job.unwrap()).unwrap()
    };
    read(&golden("tasks.yaml"), namespace).iter().map(made).collect()
}

fn door() -> Door {
    Door { agent: "http://mesh-agent.mesh-system".to_owned(), router: Some("http://mesh-router.mesh-system".to_owned()) }
}

fn made(service: &MeshService) -> Vec<Value> {
    let hook = DrainHook { address: "[fd00::9]:9464".parse().unwrap(), image: "quay.io/mesh/mesh-controller:1".to_owned() };
    let made = objects(service, &Surroundings { drain: Some(hook), door: Some(door()), autoscaled: None });
    let Objects { revision: _, deployment, services, budget, account } = made.unwrap_or_else(|refusal| panic!("{}", refusal.message));
    let values = [account.map(serde_json::to_value), Some(serde_json::to_value(deployment)), budget.map(serde_json::to_value)];
    let services = services.iter().map(|service| serde_json::to_value(service).unwrap());
    values.into_iter().flatten().map(Result::unwrap).chain(services).collect()
}

fn yaml(values: &[Value]) -> String {
    values.iter().fold(String::new(), |text, value| text + "---\n" + &serde_saphyr::to_string(value).unwrap())
}

/// The first path of `wanted` that stands otherwise in `live`.
fn difference(wanted: &Value, live: &Value) -> Option<String> {
    match (wanted, live) {
        (Value::Object(fields), Value::Object(live)) => fields.iter().find_map(|(key, value)| match live.get(key) {
            None => Some(format!(".{key} is gone")),
            Some(live) => difference(value, live).map(|path| format!(".{key}{path}")),
        }),
        (Value::Array(items), Value::Array(live)) if items.len() == live.len() => {
            items.iter().zip(live).enumerate().find_map(|(at, (item, live))| difference(item, live).map(|path| format!("[{at}]{path}")))
        }
        (wanted, live) => (wanted != live).then(|| format!(": {wanted} is {live}")),
    }
}

#[test]
fn the_objects_of_services_are_those_of_the_golden_file() {
    let made: Vec<Value> =
        ["services.yaml", "privileged.yaml"].iter().flat_map(|file| services(&golden(file), "shop")).flat_map(|s| made(&s)).collect();
    mesh_gear::golden::check("tests/golden/kubernetes/objects.yaml", &yaml(&made));
}

#[test]
fn the_cron_jobs_of_tasks_are_those_of_the_golden_file() {
    mesh_gear::golden::check("tests/golden/kubernetes/cron-jobs.yaml", &yaml(&cron_jobs("shop")));
}

/// Strictly, without a warning, and nothing of it is written otherwise than it was sent: else every comparison would find a difference.
#[test]
fn an_api_server_takes_all_objects_as_they_are_rendered() {
    let Some(cluster) = Cluster::control_plane() else { return };
    let shop = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop-containers/mesh.yaml"));
    for (file, level) in [(golden("services.yaml"), "restricted"), (shop, "restricted"), (golden("privileged.yaml"), "privileged")] {
        let space = cluster.namespace("objects");
        for mode in ["enforce", "warn"] {
            space.kubectl(&format!("label namespace {} pod-security.kubernetes.io/{mode}={level}", space.name));
        }
        let wanted: Vec<Value> = services(&file, &space.name).iter().flat_map(made).chain(cron_jobs(&space.name)).collect();
        let args =
            ["apply", "--server-side", "--field-manager=mesh-controller", "--force-conflicts", "--dry-run=server", "--warnings-as-errors"];
        let live = cluster.kubectl(&[&args[..], &["-o", "json", "-f", "-"]].concat(), &yaml(&wanted));
        let live: Value = serde_json::from_str(&live).unwrap();
        for (wanted, live) in wanted.iter().zip(live["items"].as_array().unwrap()) {
            assert_eq!(difference(wanted, live), None, "{}: {} {}", file.display(), wanted["kind"], wanted["metadata"]["name"]);
        }
        assert_eq!(live["items"].as_array().unwrap().len(), wanted.len());
    }
}
