//! The router beside `HAProxy`, each in front of the same two programs, under the same load, taking turns; CPU time per request is what counts.
use std::{
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use kube::{Api, api::ListParams};
use mesh_controller::api::MeshInstance;
use mesh_gear::port;
use serde_json::json;

use crate::{
    controller::{Controller, get, wait},
    proc::cpu_seconds,
    table::{Table, percentile},
};

const ROUNDS: usize = 3;
const SECONDS: u64 = 4;

pub(crate) async fn run() -> Result<Table> {
    let mut table = Table::new("router, HTTP/1.1 keep-alive, 128 B, 64 connections");
    if ["wrk", "haproxy"]
        .iter()
        .any(|program| Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err())
    {
        table.row("left out", "wrk or haproxy is not installed", "apt-get install wrk haproxy");
        return Ok(table);
    }
    let controller = Controller::start().await?;
    controller.apply("load", json!({ "replicas": 2 })).await?;
    controller.wait_ready("load", 2, Duration::from_secs(30)).await?;
    let instances: Api<MeshInstance> = Api::default_namespaced(controller.client.clone());
    let all = instances.list(&ListParams::default()).await?.items;
    let addresses: Vec<String> = all.into_iter().filter_map(|instance| instance.status?.address).collect();
    let (mut haproxy, peer) = haproxy(&addresses).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(load(controller.router, controller.pid)?);
        theirs.push(load(peer, haproxy.id())?);
    }
    haproxy.kill()?;
    haproxy.wait()?;
    controller.stop().await?;
    let cpu = |runs: &[(f64, f64)]| percentile(&mut runs.iter().map(|run| run.1).collect::<Vec<_>>(), 0.5);
    let rate = |runs: &[(f64, f64)]| percentile(&mut runs.iter().map(|run| run.0).collect::<Vec<_>>(), 0.5);
    let (ours_cpu, theirs_cpu) = (cpu(&ours), cpu(&theirs));
    table.row("CPU per request", format!("{ours_cpu:.1} µs"), format!("HAProxy {theirs_cpu:.1} µs: {:.2} times", ours_cpu / theirs_cpu));
    table.row("requests per second", format!("{:.0}", rate(&ours)), format!("HAProxy {:.0}", rate(&theirs)));
    Ok(table)
}

async fn haproxy(addresses: &[String]) -> Result<(Child, SocketAddr)> {
    let listen = port::unused();
    let servers = addresses.iter().enumerate().map(|(n, address)| format!("  server s{n} {address}")).collect::<Vec<_>>().join("\n");
    let mut file = tempfile::NamedTempFile::new()?;
    write!(
        file,
        "global\n  nbthread 2\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n  option forwardfor\n\
         frontend f\n  bind {listen}\n  default_backend b\nbackend b\n  http-reuse always\n  balance roundrobin\n{servers}\n"
    )?;
    let child = Command::new("haproxy").arg("-f").arg(file.path()).arg("-db").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait(Duration::from_secs(10), "HAProxy to answer", async || Ok(get(listen, "/load").await.is_ok_and(|status| status == 200))).await?;
    Ok((child, listen))
}

/// Requests per second, and CPU microseconds of the process per request.
fn load(address: SocketAddr, pid: u32) -> Result<(f64, f64)> {
    let before = cpu_seconds(pid)?;
    let run = Command::new("wrk").args(["-t1", "-c64", &format!("-d{SECONDS}s"), &format!("http://{address}/load")]).output()?;
    let used = cpu_seconds(pid)? - before;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("the load saw errors:\n{text}");
    }
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok()).context("wrk's count")?;
    #[expect(clippy::cast_precision_loss, reason = "a few seconds")]
    let rate = requests / SECONDS as f64;
    Ok((rate, used / requests * 1e6))
}
