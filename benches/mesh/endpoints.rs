//! From the commit of an `EndpointSlice` to the first request that its endpoint answers.
use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use mesh_gear::port;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::{
    controller::{Controller, get, wait},
    table::{Table, percentile},
};

const TRIALS: usize = 300;

pub(crate) async fn run() -> Result<Table> {
    let port = port::unused();
    let mut origin =
        Command::new(std::env::current_exe()?).arg("origin").env("PORT", port.port().to_string()).stdin(Stdio::null()).spawn()?;
    let controller = Controller::start().await?;
    controller.apply("late", json!({ "replicas": 0 })).await?;
    wait(Duration::from_secs(10), "the route", async || Ok(get(controller.router, "/late").await? == 503)).await?;
    let mut times = first_requests(&Api::default_namespaced(controller.client.clone()), controller.router, port, TRIALS).await?;
    controller.stop().await?;
    origin.kill()?;
    origin.wait()?;
    let mut table = Table::new("EndpointSlice commit to first request");
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    table.row(format!("p50 and p99 of {TRIALS}"), format!("{p50:.2} ms, {p99:.2} ms"), "p99 under 20 ms");
    Ok(table)
}

/// Milliseconds from each commit of the slice of the service `late` to the first request that its one endpoint answers.
pub(crate) async fn first_requests(slices: &Api<EndpointSlice>, router: SocketAddr, origin: SocketAddr, trials: usize) -> Result<Vec<f64>> {
    let mut client = TcpStream::connect(router).await?;
    client.set_nodelay(true)?;
    let mut times = Vec::new();
    for _ in 0..trials {
        apply(slices, slice(origin, true)).await?;
        // The answer to the write comes after its commit, so the time is counted from no later than that.
        let committed = Instant::now();
        ask_until(&mut client, 200).await?;
        times.push(committed.elapsed().as_secs_f64() * 1000.0);
        apply(slices, slice(origin, false)).await?;
        ask_until(&mut client, 503).await?;
    }
    Ok(times)
}

fn slice(origin: SocketAddr, ready: bool) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "late-bench", "labels": { "kubernetes.io/service-name": "late", "app.kubernetes.io/managed-by": "mesh-controller" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [origin.ip().to_string()], "conditions": { "ready": ready, "serving": ready, "terminating": false } }],
        "ports": [{ "name": "http", "port": origin.port(), "protocol": "TCP" }],
    })
}

async fn apply(slices: &Api<EndpointSlice>, slice: Value) -> Result<()> {
    slices.patch("late-bench", &PatchParams::apply("bench").force(), &Patch::Apply(&slice)).await?;
    Ok(())
}

async fn ask_until(client: &mut TcpStream, wanted: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while ask(client).await? != wanted {
        anyhow::ensure!(Instant::now() < deadline, "no status {wanted} within 5 s");
    }
    Ok(())
}

/// One request on a kept connection.
async fn ask(client: &mut TcpStream) -> Result<u16> {
    client.write_all(b"GET /late HTTP/1.1\r\nHost: bench\r\n\r\n").await?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = client.read(&mut part).await?;
        anyhow::ensure!(read > 0, "the router closed the connection");
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if body.len() >= length.context("no content-length")? {
            return head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status");
        }
    }
}
