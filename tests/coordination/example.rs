//! `examples/coordination` as its README has it: the holder is killed, and stopped, and its late write is refused by the store; the nightly task reports.
use std::{process::Command, time::Duration};

use tokio::time::Instant;

use serde_json::Value;

use mesh_gear::{
    controller::{Controller, kill, until},
    load::get,
    machine::there,
    program::{file, program},
};

async fn plays(language: &str) {
    let top = file("");
    let controller = Controller::start_with(&["--project-dir", top.to_str().unwrap()]).await;
    controller.kubectl(&["apply", "-f", file(&format!("examples/coordination/{language}/mesh.yaml")).to_str().unwrap()]);
    controller.settled("ledger", 1).await;
    controller.settled("worker", 3).await;
    let ledger = async || {
        let (_, answer) = get(controller.router, "/ledger").await.ok()?;
        serde_json::from_str::<Value>(&answer).ok()
    };
    let written_by = async |not: &str| {
        until(&format!("a writer other than {not:?}"), async || {
            let writer = ledger().await?["writer"].as_str()?.to_owned();
            (writer != not).then_some(writer)
        })
        .await
    };
    let pid = |name: &str| controller.json(&["get", "mi", name])["status"]["pid"].as_i64().unwrap();
    let first = written_by("").await;
    let leases = controller.kubectl(&["get", "leases", "-l", "mesh-controller.dev/lock", "-o", "name"]);
    assert_eq!(leases.lines().collect::<Vec<_>>(), ["lease.coordination.k8s.io/lock-ledger", "lease.coordination.k8s.io/workers"]);

    let killed = Instant::now();
    kill(pid(&first), "-KILL");
    let second = written_by(&first).await;
    eprintln!("{language}: another writes {} ms after the kill", killed.elapsed().as_millis());

    let stopped = Instant::now();
    let of_second = pid(&second);
    kill(of_second, "-STOP");
    let third = written_by(&second).await;
    eprintln!("{language}: another writes {} ms after the stop (its ttl is 5 s)", stopped.elapsed().as_millis());
    assert!(stopped.elapsed() >= Duration::from_secs(3), "before the lock was over");
    kill(of_second, "-CONT");
    until("the late write to be refused", async || ledger().await?["refused"].as_u64().filter(|refused| *refused > 0)).await;
    assert_eq!(ledger().await.unwrap()["writer"], third.as_str(), "nobody else has written");

    let mut task = Command::new(program("mesh"));
    task.args(["--state-dir", &controller.state_dir(), "task", "run", "nightly", "--wait"]);
    let report = tokio::task::spawn_blocking(move || task.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(report.status.success() && said.starts_with("report (asked for): "), "{said}{}", String::from_utf8_lossy(&report.stderr));
    assert!(said.contains(&format!("the last by {third}")), "{said}");
    let next = controller.json(&["get", "mt", "nightly"])["status"]["nextScheduleTime"].as_str().unwrap().to_owned();
    assert!(next.ends_with("T01:00:00Z") || next.ends_with("T02:00:00Z"), "3 o'clock in Berlin, not {next}");
}

fn installed(program: &str) -> bool {
    there(Command::new(program).arg("--version").output().is_ok_and(|end| end.status.success()), program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_plays_in_python() {
    if installed("python3") {
        plays("python").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_plays_in_node() {
    if installed("node") {
        plays("node").await;
    }
}
