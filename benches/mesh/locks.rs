//! Locks by the agent's door, beside Redis (`SET NX PX` in memory, and with every write synced as ours is) and etcd's own lock, each over one kept connection: how long an
//! acquisition takes, how fast a lock goes through many waiters, and what many held locks cost.
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use mesh_gear::{machine, port};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use crate::{
    controller::{Controller, wait},
    proc::rss_mib,
    table::{Table, percentile},
};

const TRIALS: usize = 1000;
const WAITERS: usize = 200;
const HELD: usize = 10_000;
const AT_ONCE: usize = 32;
const REST: Duration = Duration::from_secs(10);

pub(crate) async fn run() -> Result<Table> {
    let mut table = Table::new("locks");
    let controller = Controller::start().await?;
    controller.apply_spec("worker", json!({ "type": "Worker", "command": ["sleep", "1000000"] })).await?;
    controller.wait_ready("worker", 1, Duration::from_secs(30)).await?;
    let door = Door::of(&controller)?;

    let (ours, [redis, synced, etcd]) = (uncontended(&door).await?, peers().await);
    let times = |times: &mut Vec<f64>| format!("{:.2} / {:.2} ms", percentile(times, 0.5), percentile(times, 0.99));
    let said = |peer: Result<Vec<f64>>, name: &str| {
        peer.map_or_else(|why| format!("no {name} ({why:#})"), |mut all| format!("{} {name}", times(&mut all)))
    };
    let beside = [said(redis, "Redis, nothing synced"), said(synced, "Redis, synced"), said(etcd, "etcd")].join("; ");
    table.row("acquire, nobody else wants it: median / 99 %", times(&mut ours.clone()), beside);

    let mut turns = contended(&door).await?;
    table.row(format!("from one release to the next acquisition, {WAITERS} wait: median / 99 %"), times(&mut turns), "");

    let before = rss_mib(controller.pid)?;
    let begin = Instant::now();
    hold_many(&door).await?;
    let took = begin.elapsed().as_secs_f64();
    let after = rss_mib(controller.pid)?;
    let each = (after - before) * 1024.0 / f64::from(u32::try_from(HELD)?);
    table.row(format!("{HELD} locks held"), format!("{after:.1} MiB, {each:.1} KiB each"), format!("{before:.1} MiB with none"));
    table.row("acquisitions in a second, 32 at once", format!("{:.0}", f64::from(u32::try_from(HELD)?) / took), "");
    let writes = writes(&controller).await?;
    table.row("writes in a second with these held and nobody asking", format!("{writes:.1}"), "each renewal is one more");
    controller.stop().await?;
    Ok(table)
}

/// One kept connection to the door.
struct Door {
    socket: PathBuf,
    token: String,
}

struct Connection(BufReader<UnixStream>, String);

impl Door {
    fn of(controller: &Controller) -> Result<Self> {
        let state = controller.state_dir();
        let folder = std::fs::read_dir(state.join("tokens"))?.next().context("a token")??.path();
        Ok(Self { socket: state.join("agent/agent.sock"), token: std::fs::read_to_string(folder.join("token"))? })
    }

    async fn connect(&self) -> Result<Connection> {
        Ok(Connection(BufReader::new(UnixStream::connect(&self.socket).await?), self.token.clone()))
    }
}

impl Connection {
    async fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Value> {
        exchange(&mut self.0, method, path, &format!("Authorization: Bearer {}\r\n", self.1), body).await
    }

    async fn release(&mut self, key: &str, lock: &Value) -> Result<()> {
        self.ask("DELETE", &format!("/v1/locks/{key}?fence={}", lock["fence"]), "").await.map(drop)
    }
}

async fn uncontended(door: &Door) -> Result<Vec<f64>> {
    let (mut connection, mut times) = (door.connect().await?, Vec::new());
    for _ in 0..TRIALS {
        let begin = Instant::now();
        let lock = connection.ask("POST", "/v1/locks/one", "{}").await?;
        times.push(millis(begin));
        connection.release("one", &lock).await?;
    }
    Ok(times)
}

async fn contended(door: &Door) -> Result<Vec<f64>> {
    let mut first = door.connect().await?;
    let lock = first.ask("POST", "/v1/locks/many", r#"{"ttl":"1h"}"#).await?;
    let (sender, mut turns) = mpsc::unbounded_channel();
    let mut waiters = JoinSet::new();
    for _ in 0..WAITERS {
        let (mut connection, sender) = (door.connect().await?, sender.clone());
        waiters.spawn(async move {
            let lock = connection.ask("POST", "/v1/locks/many", r#"{"wait":"10m"}"#).await?;
            sender.send(Instant::now())?;
            connection.release("many", &lock).await
        });
    }
    drop(sender);
    // All are in the queue when this is answered: requests are read in the order in which they came.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut last = Instant::now();
    first.release("many", &lock).await?;
    let mut times = Vec::new();
    while let Some(turn) = turns.recv().await {
        times.push(turn.duration_since(last).as_secs_f64() * 1000.0);
        last = turn;
    }
    while let Some(waiter) = waiters.join_next().await {
        waiter??;
    }
    ensure!(times.len() == WAITERS, "{} of {WAITERS} were served", times.len());
    Ok(times)
}

async fn hold_many(door: &Door) -> Result<()> {
    let mut holders = JoinSet::new();
    for part in 0..AT_ONCE {
        let mut connection = door.connect().await?;
        holders.spawn(async move {
            for key in (part..HELD).step_by(AT_ONCE) {
                connection.ask("POST", &format!("/v1/locks/held-{key}"), r#"{"ttl":"24h"}"#).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(holder) = holders.join_next().await {
        holder??;
    }
    Ok(())
}

/// How fast the store's revision grows.
async fn writes(controller: &Controller) -> Result<f64> {
    let leases: Api<Lease> = Api::all(controller.client.clone());
    let revision = async || -> Result<u32> {
        let list = leases.list_metadata(&ListParams::default().limit(1)).await?;
        Ok(list.metadata.resource_version.context("a revision")?.parse()?)
    };
    let before = revision().await?;
    tokio::time::sleep(REST).await;
    Ok(f64::from(revision().await? - before) / REST.as_secs_f64())
}

async fn peers() -> [Result<Vec<f64>>; 3] {
    [redis(&[]).await, redis(&["--appendonly", "yes", "--appendfsync", "always"]).await, etcd().await]
}

/// A server that ends with the measurement.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(command: &mut Command) -> Result<Server> {
    Ok(Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
}

async fn connect(address: std::net::SocketAddr) -> Result<BufReader<TcpStream>> {
    let mut connection = None;
    wait(Duration::from_secs(20), "a server", async || {
        connection = TcpStream::connect(address).await.ok();
        Ok(connection.is_some())
    })
    .await?;
    let connection = connection.context("a connection")?;
    connection.set_nodelay(true)?;
    Ok(BufReader::new(connection))
}

async fn redis(more: &[&str]) -> Result<Vec<f64>> {
    let (dir, address) = (tempfile::tempdir()?, port::unused());
    let mut command = Command::new("redis-server");
    command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(dir.path()).args(more);
    let _server = serve(&mut command)?;
    let mut redis = connect(address).await?;
    let (mut times, mut line) = (Vec::new(), String::new());
    for trial in 0..TRIALS {
        let begin = Instant::now();
        redis.get_mut().write_all(format!("SET one {trial} NX PX 30000\r\n").as_bytes()).await?;
        line.clear();
        redis.read_line(&mut line).await?;
        times.push(millis(begin));
        ensure!(line == "+OK\r\n", "{line}");
        redis.get_mut().write_all(b"DEL one\r\n").await?;
        line.clear();
        redis.read_line(&mut line).await?;
    }
    Ok(times)
}

/// By its gateway for HTTP, which serves the calls that `etcdctl lock` makes.
async fn etcd() -> Result<Vec<f64>> {
    let (dir, address, peer) = (tempfile::tempdir()?, port::unused(), port::unused());
    let program = machine::cache().join("kube/etcd");
    let (client, peer) = (format!("http://{address}"), format!("http://{peer}"));
    let mut command = Command::new(program);
    command.arg("--data-dir").arg(dir.path()).args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("default={peer}")]);
    let _server = serve(&mut command)?;
    let mut etcd = connect(address).await?;
    let mut times = Vec::new();
    let lease = gateway(&mut etcd, "/v3/lease/grant", &json!({ "TTL": 30 })).await?.get("ID").cloned();
    for _ in 0..TRIALS {
        let begin = Instant::now();
        let lock = gateway(&mut etcd, "/v3/lock/lock", &json!({ "name": "b25l", "lease": lease })).await?;
        times.push(millis(begin));
        gateway(&mut etcd, "/v3/lock/unlock", &json!({ "key": lock.get("key") })).await?;
    }
    Ok(times)
}

async fn gateway(etcd: &mut BufReader<TcpStream>, path: &str, body: &Value) -> Result<Value> {
    exchange(etcd, "POST", path, "", &body.to_string()).await
}

/// One request on a kept connection, and its answer.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut BufReader<S>,
    method: &str,
    path: &str,
    more: &str,
    body: &str,
) -> Result<Value> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {}\r\n\r\n", body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await?;
    let (mut length, mut status, mut line) = (0, String::new(), String::new());
    while line != "\r\n" {
        line.clear();
        ensure!(connection.read_line(&mut line).await? > 0, "the connection ended");
        if status.is_empty() {
            status.clone_from(&line);
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    ensure!(status.contains(" 20"), "{status}: {}", String::from_utf8_lossy(&body));
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

fn millis(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}
