//! 50 containers from apply to all Ready, beside what else starts containers on one machine: `podman run` in a loop, podman-compose and
//! `podman kube play`, each until the last one answers. And what the controller costs at rest with them.
use std::{
    fmt::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    controller::{Controller, get, wait},
    engine::{Engine, IMAGE},
    instances::at_rest,
    table::Table,
};

const COUNT: u16 = 50;
const LIMIT: Duration = Duration::from_secs(180);

pub(crate) async fn run() -> Result<Table> {
    let mut table = Table::new("50 containers of Podman");
    let engine = Engine::start()?;
    // Once before, so that no peer pays for what the engine makes at its first use.
    engine.podman(&["run", "--rm", IMAGE, "/bin/busybox", "true"])?;
    let one_by_one = podman_run(&engine).await?;
    let compose = podman_compose(&engine).await?;
    let kube = kube_play(&engine).await?;
    let controller = Controller::start_on(&["--backend", "podman", "--engine-socket", &engine.socket().to_string_lossy()]).await?;
    let begin = Instant::now();
    controller.apply_spec("many", spec()).await?;
    controller.wait_ready("many", i32::from(COUNT), LIMIT).await?;
    let ours = begin.elapsed().as_secs_f64();
    let (cpu, rss) = at_rest(controller.pid).await?;
    controller.stop().await?;
    let peer = |seconds: f64, what: &str| format!("{seconds:.2} s {what}: {:.2} times", ours / seconds);
    table.row("apply to all Ready", format!("{ours:.2} s"), peer(one_by_one, "by a loop of podman run"));
    table.row("", "", compose.map_or("podman-compose is not installed".to_owned(), |seconds| peer(seconds, "by podman-compose up")));
    table.row("", "", peer(kube, "by podman kube play"));
    table.row("controller at rest, 50", format!("{cpu:.2} % of a core, {rss:.1} MiB RSS"), "under 1 %, 40 MiB");
    Ok(table)
}

fn spec() -> serde_json::Value {
    json!({
        "image": IMAGE, "command": ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"], "replicas": COUNT, "route": "/many",
        "drain": { "timeout": "1s" }, "terminationGracePeriodSeconds": 0,
    })
}

fn ports(first: u16) -> impl Iterator<Item = (u16, SocketAddr)> {
    (0..COUNT).map(move |index| (index, SocketAddr::from(([127, 0, 0, 1], first + index))))
}

async fn all_answer(first: u16) -> Result<()> {
    for (_, address) in ports(first) {
        wait(LIMIT, "a container to answer", async || Ok(get(address, "/").await.is_ok_and(|status| status == 200))).await?;
    }
    Ok(())
}

async fn podman_run(engine: &Engine) -> Result<f64> {
    let begin = Instant::now();
    for (index, address) in ports(31_000) {
        let (name, port) = (format!("mesh-bench-run-{index}"), format!("{address}:8080"));
        engine.podman(&["run", "-d", "--name", &name, "-p", &port, IMAGE, "/bin/httpd", "-f", "-p", "8080", "-h", "/www"])?;
    }
    all_answer(31_000).await?;
    let time = begin.elapsed().as_secs_f64();
    let names: Vec<String> = ports(0).map(|(index, _)| format!("mesh-bench-run-{index}")).collect();
    let mut remove = vec!["rm", "-f", "-t", "0"];
    remove.extend(names.iter().map(String::as_str));
    engine.podman(&remove)?;
    Ok(time)
}

async fn podman_compose(engine: &Engine) -> Result<Option<f64>> {
    if !std::path::Path::new("/usr/bin/podman-compose").exists() {
        return Ok(None);
    }
    let mut file = "services:\n".to_owned();
    for (index, address) in ports(31_100) {
        writeln!(
            file,
            "  web{index}:\n    image: {IMAGE}\n    command: [/bin/httpd, -f, -p, '8080', -h, /www]\n    ports: ['{address}:8080']"
        )?;
    }
    let dir = engine.dir().join("mesh-bench-compose");
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("compose.yml");
    std::fs::write(&path, file)?;
    let podman = engine.program()?;
    let begin = Instant::now();
    let compose = |args: &[&str]| {
        let mut command = Command::new("podman-compose");
        command.arg("--podman-path").arg(&podman).arg("-f").arg(&path).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    let done = compose(&["up", "-d"])?;
    ensure!(done.success(), "podman-compose up: {done}");
    all_answer(31_100).await?;
    let time = begin.elapsed().as_secs_f64();
    compose(&["down", "-t", "0"])?;
    Ok(Some(time))
}

async fn kube_play(engine: &Engine) -> Result<f64> {
    let mut file = String::new();
    for (index, address) in ports(31_200) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("mesh-bench-kube-{index}") },
            "spec": { "terminationGracePeriodSeconds": 0, "containers": [{
                "name": "web", "image": IMAGE, "command": ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"],
                "ports": [{ "containerPort": 8080, "hostPort": address.port(), "hostIP": "127.0.0.1" }],
            }] },
        });
        writeln!(file, "---\n{pod}")?;
    }
    let path = engine.dir().join("pods.yaml").to_string_lossy().into_owned();
    std::fs::write(&path, file)?;
    let begin = Instant::now();
    engine.podman(&["kube", "play", &path])?;
    all_answer(31_200).await?;
    let time = begin.elapsed().as_secs_f64();
    let pods: Vec<String> = ports(0).map(|(index, _)| format!("mesh-bench-kube-{index}")).collect();
    let mut remove = vec!["pod", "rm", "-f", "-t", "0"];
    remove.extend(pods.iter().map(String::as_str));
    engine.podman(&remove)?;
    Ok(time)
}
