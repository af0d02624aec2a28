//! A controller with instances that only sleep, and the test in the place of their programs: it has their tokens.
use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use mesh_controller_sdk::Mesh;
use mesh_gear::controller::{Controller, until};

/// The mesh, and its workers by their numbers.
pub(crate) struct Rig {
    pub(crate) controller: Controller,
}

/// One of them.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) pid: i64,
    pub(crate) token: PathBuf,
    pub(crate) mesh: Mesh,
}

impl Rig {
    pub(crate) async fn start(workers: u32) -> Self {
        Self::on(Controller::start().await, workers).await
    }

    pub(crate) async fn on(controller: Controller, workers: u32) -> Self {
        let command = ["sleep", "1000000"];
        controller.apply("worker", &json!({ "type": "Worker", "replicas": workers, "command": command })).await;
        Self { controller }
    }

    pub(crate) fn socket(&self) -> String {
        format!("{}/agent/agent.sock", self.controller.state_dir())
    }

    /// The workers as they run now.
    pub(crate) fn workers(&self) -> Vec<Worker> {
        self.workers_of("default")
    }

    /// The one of another namespace, once it runs.
    pub(crate) async fn worker_of(&self, namespace: &str) -> Worker {
        let runs = || self.controller.json(&["get", "mi", "-n", namespace])["items"][0]["status"]["pid"].is_number();
        until("its instance", async || runs().then_some(())).await;
        self.workers_of(namespace).remove(0)
    }

    /// A number among the controller's metrics.
    pub(crate) async fn controller_metric(&self, name: &str) -> u64 {
        let (_, text) = self.controller.admin("/metrics").await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().unwrap()
    }

    fn workers_of(&self, namespace: &str) -> Vec<Worker> {
        let list = self.controller.json(&["get", "mi", "-n", namespace]);
        let worker = |instance: &Value| {
            let (name, uid) = (instance["metadata"]["name"].as_str().unwrap(), instance["metadata"]["uid"].as_str().unwrap());
            let token = PathBuf::from(format!("{}/tokens/{name}_{uid}/token", self.controller.state_dir()));
            // Beside the one of the next run, which takes its place.
            let kept = self.controller.write(&format!("{uid}-{}.token", instance["status"]["pid"]), &json!(null));
            fs::copy(&token, &kept).unwrap();
            Worker {
                name: name.to_owned(),
                pid: instance["status"]["pid"].as_i64().unwrap(),
                mesh: Mesh::new(&format!("unix://{}", self.socket()), &kept).unwrap(),
                token: kept.into(),
            }
        };
        list["items"].as_array().unwrap().iter().map(worker).collect()
    }

    /// The Leases of locks and leaders, as kubectl shows them: `NAME HOLDER`.
    pub(crate) fn leases(&self) -> Vec<(String, String)> {
        let list = self.controller.json(&["get", "leases", "-l", "mesh-controller.dev/lock"]);
        let text = |lease: &Value, pointer: &str| lease.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let row = |lease: &Value| (text(lease, "/metadata/name"), text(lease, "/spec/holderIdentity"));
        list["items"].as_array().unwrap().iter().map(row).collect()
    }
}
