//! From kill -9 of an instance to the next answer of its successor, beside the floor: spawn the program and ask until it answers.
use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use kube::{Api, api::ListParams};
use mesh_controller::api::MeshInstance;
use mesh_gear::port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    controller::{Controller, get, wait},
    table::{Table, percentile},
};

const TRIALS: usize = 15;

pub(crate) async fn run() -> Result<Table> {
    let mut floor = Vec::new();
    for _ in 0..TRIALS {
        floor.push(spawn_once().await?);
    }
    let controller = Controller::start().await?;
    controller.apply("one", json!({ "replicas": 1 })).await?;
    controller.wait_ready("one", 1, Duration::from_secs(30)).await?;
    let mut ours = Vec::new();
    for trial in 0..TRIALS {
        ours.push(kill_once(&controller, trial).await?);
    }
    controller.stop().await?;
    let mut table = Table::new("kill -9 of an instance, until its successor answers through the router");
    let (floor_median, ours_median) = (percentile(&mut floor, 0.5), percentile(&mut ours, 0.5));
    table.row(
        "median",
        format!("{ours_median:.1} ms"),
        format!("{floor_median:.1} ms to spawn and ask: {:.1} ms more", ours_median - floor_median),
    );
    table.row("slowest", format!("{:.1} ms", percentile(&mut ours, 1.0)), format!("{:.1} ms", percentile(&mut floor, 1.0)));
    Ok(table)
}

async fn kill_once(controller: &Controller, trial: usize) -> Result<f64> {
    let instances: Api<MeshInstance> = Api::default_namespaced(controller.client.clone());
    let status = async || -> Result<_> {
        let all = instances.list(&ListParams::default()).await?.items;
        all.into_iter().next().and_then(|instance| instance.status).context("an instance")
    };
    let pid = status().await?.pid.context("its pid")?;
    // Runs are short here, so each end would wait longer than the one before: a new instance has no such memory.
    let killed = Pid::from_raw(i32::try_from(pid)?).context("a pid")?;
    let begin = Instant::now();
    // Nothing of it can answer from here on.
    kill_process(killed, Signal::KILL)?;
    wait(Duration::from_secs(10), "the successor's answer", async || {
        Ok(get(controller.router, "/one").await.is_ok_and(|code| code == 200))
    })
    .await?;
    let time = begin.elapsed();
    let object = json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": {
        "name": "one", "annotations": { "mesh-controller.dev/restarted-at": trial.to_string() } } });
    let params = kube::api::PatchParams::apply("bench-restart").force();
    controller.services().patch("one", &params, &kube::api::Patch::Apply(&object)).await?;
    wait(Duration::from_secs(30), "a new instance", async || {
        let all = instances.list(&ListParams::default()).await?.items;
        let fresh =
            all.iter().all(|instance| instance.status.as_ref().is_some_and(|status| status.restart_count == 0 && status.pid.is_some()));
        Ok(all.len() == 1 && fresh && controller.services().get("one").await?.status.is_some_and(|status| status.ready_replicas == 1))
    })
    .await?;
    Ok(time.as_secs_f64() * 1000.0)
}

async fn spawn_once() -> Result<f64> {
    let port = port::unused();
    let begin = Instant::now();
    let mut child =
        Command::new(std::env::current_exe()?).arg("origin").env("PORT", port.port().to_string()).stdin(Stdio::null()).spawn()?;
    wait(Duration::from_secs(10), "an answer", async || Ok(get(port, "/").await.is_ok_and(|status| status == 200))).await?;
    let time = begin.elapsed();
    child.kill()?;
    child.wait()?;
    Ok(time.as_secs_f64() * 1000.0)
}
