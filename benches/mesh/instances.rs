//! 200 instances from apply to all Ready, beside the floor: the same programs spawned directly, until each answers. And what it costs at rest.
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use mesh_gear::port;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    controller::{Controller, get, wait},
    proc::{cpu_seconds, named, pss_mib, rss_mib},
    table::Table,
};

const COUNT: usize = 200;
const REST: Duration = Duration::from_secs(20);

pub(crate) async fn run() -> Result<Table> {
    let mut table = Table::new("200 instances");
    let floor = floor().await?;
    let controller = Controller::start().await?;
    let (empty_cpu, empty_rss) = at_rest(controller.pid).await?;
    let begin = Instant::now();
    controller.apply("many", json!({ "replicas": COUNT })).await?;
    controller.wait_ready("many", i32::try_from(COUNT)?, Duration::from_secs(120)).await?;
    let ours = begin.elapsed();
    let (full_cpu, full_rss) = at_rest(controller.pid).await?;
    let shims = named("mesh-shim");
    let shim_pss = shims.iter().filter_map(|pid| pss_mib(*pid).ok()).sum::<f64>();
    controller.stop().await?;
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    table.row(
        "apply to all Ready",
        format!("{:.2} s", ours.as_secs_f64()),
        format!("{:.2} s spawned directly: {ratio:.2} times", floor.as_secs_f64()),
    );
    table.row("controller at rest, none", format!("{empty_cpu:.2} % of a core, {empty_rss:.1} MiB RSS"), "under 1 %, 40 MiB");
    table.row("controller at rest, 200", format!("{full_cpu:.2} % of a core, {full_rss:.1} MiB RSS"), "under 1 %, 40 MiB");
    table.row("shims of 200", format!("{shim_pss:.1} MiB PSS together ({} shims)", shims.len()), "");
    Ok(table)
}

pub(crate) async fn at_rest(pid: u32) -> Result<(f64, f64)> {
    sleep(Duration::from_secs(3)).await;
    let before = cpu_seconds(pid)?;
    sleep(REST).await;
    Ok(((cpu_seconds(pid)? - before) / REST.as_secs_f64() * 100.0, rss_mib(pid)?))
}

async fn floor() -> Result<Duration> {
    let ports: Vec<_> = (0..COUNT).map(|_| port::unused()).collect();
    let program = std::env::current_exe()?;
    let begin = Instant::now();
    let spawn = |port: &std::net::SocketAddr| {
        Command::new(&program).arg("origin").env("PORT", port.port().to_string()).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    };
    let mut children = ports.iter().map(spawn).collect::<std::io::Result<Vec<Child>>>()?;
    for port in &ports {
        wait(Duration::from_secs(60), "a program to answer", async || Ok(get(*port, "/").await.is_ok_and(|status| status == 200))).await?;
    }
    let time = begin.elapsed();
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    Ok(time)
}
