//! Logs and exec.
use std::time::Duration;

use futures::StreamExt;
use mesh_controller::{
    backend::{Error, LogQuery, engine::Engine},
    plan::instance::Launch,
};

use super::{
    fixture::{IDLE, Machine, eventually},
    host::host,
};

async fn read(machine: &Machine, key: &mesh_controller::plan::instance::InstanceKey, query: LogQuery) -> String {
    let pieces: Vec<_> = machine.backend.logs(key, query).collect().await;
    pieces.into_iter().map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn the_run_before_comes_first_and_the_tail_goes_over_both() {
    let Some(machine) = Machine::new("tail").await else { return };
    let mut launch = machine.sh("job", "echo a; echo b >&2; sleep 0.2; echo c");
    let key = machine.start(&launch).await;
    machine.exited(&key).await;
    launch.attempt = 1;
    launch.container.command[2] = "echo d; echo e".into();
    machine.start(&launch).await;
    machine.exited(&key).await;
    let tail = async |lines| read(&machine, &key, LogQuery { tail_lines: Some(lines), ..LogQuery::default() }).await;
    let all = read(&machine, &key, LogQuery::default()).await;
    let mut lines: Vec<&str> = all.lines().collect();
    lines[..2].sort_unstable();
    assert_eq!(lines, ["a", "b", "c", "d", "e"], "{all:?}");
    assert_eq!(tail(3).await.lines().collect::<Vec<_>>(), ["c", "d", "e"]);
    assert_eq!(tail(1).await.trim(), "e");
    assert_eq!(tail(0).await, "");
    let stamped = read(&machine, &key, LogQuery { tail_lines: Some(1), timestamps: true, ..LogQuery::default() }).await;
    let (time, rest) = stamped.trim().split_once(' ').unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && rest == "e", "{stamped:?}");
    let later = time.parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(5);
    assert_eq!(read(&machine, &key, LogQuery { since: Some(later), ..LogQuery::default() }).await, "");
}

#[tokio::test]
async fn a_last_line_without_an_end_is_ended_before_the_next_run() {
    let Some(machine) = Machine::new("open").await else { return };
    let mut launch = machine.sh("job", "printf x");
    let key = machine.start(&launch).await;
    machine.exited(&key).await;
    launch.attempt = 1;
    launch.container.command[2] = "echo y".into();
    machine.start(&launch).await;
    machine.exited(&key).await;
    assert_eq!(machine.log(&key).await, "x\ny\n");
}

#[tokio::test]
async fn following_goes_on_over_a_restart_and_ends_with_the_instance() {
    let Some(machine) = Machine::new("follow").await else { return };
    let mut launch = machine.sh("job", "echo one; sleep 0.3");
    let key = machine.start(&launch).await;
    let mut log = machine.backend.logs(&key, LogQuery { follow: true, ..LogQuery::default() });
    assert_eq!(log.next().await.unwrap().unwrap(), "one\n");
    machine.exited(&key).await;
    launch.attempt = 1;
    launch.container.command[2] = "echo two".into();
    machine.start(&launch).await;
    assert_eq!(log.next().await.unwrap().unwrap(), "two\n");
    machine.exited(&key).await;
    machine.remove(&key).await;
    let end = tokio::time::timeout(Duration::from_secs(10), log.next()).await.expect("it ends");
    assert!(end.is_none(), "{end:?}");
}

#[tokio::test]
async fn following_goes_on_over_a_restart_of_the_engine_without_losing_or_doubling_a_line() {
    let Some(host) = host().filter(|host| !host.external) else { return };
    let mut service = host.service("logger");
    let machine = Machine::on(Engine::open(&service.socket).await.unwrap(), "logger", tempfile::tempdir().unwrap()).await;
    let launch = machine.sh("job", "i=0; while [ $i -lt 30 ]; do echo $i; i=$((i+1)); sleep 0.1; done");
    let key = machine.start(&launch).await;
    let mut log = machine.backend.logs(&key, LogQuery { follow: true, ..LogQuery::default() });
    let mut lines = Vec::new();
    let mut killed = false;
    while lines.len() < 30 {
        let line = tokio::time::timeout(Duration::from_secs(20), log.next()).await.expect("the next line").unwrap().unwrap();
        lines.push(String::from_utf8(line.to_vec()).unwrap().trim().to_owned());
        if lines.len() == 5 && !std::mem::replace(&mut killed, true) {
            service.kill();
            service.restart();
        }
    }
    assert_eq!(lines, (0..30).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn commands_run_in_the_container_and_do_not_outlive_their_time() {
    let Some(machine) = Machine::new("exec").await else { return };
    let launch = machine.sh("web", &format!("export A=1; {IDLE}"));
    let key = machine.start(&launch).await;
    let launch = Launch::Container(launch);
    let exec = async |script: &str, limit| {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        machine.backend.exec(&launch, &argv, limit).await.unwrap()
    };
    let output = exec("echo out; echo err >&2; exit 3", Duration::from_secs(10)).await;
    assert_eq!((output.code, output.timed_out), (Some(3), false));
    assert!(output.output.contains("out") && output.output.contains("err"), "{output:?}");
    assert_eq!(exec("yes | head -c 1000000", Duration::from_secs(10)).await.output.len(), 4096);
    let late = exec("exec sleep 4321", Duration::from_millis(500)).await;
    assert_eq!((late.code, late.timed_out), (None, true));
    eventually("end of the command", async || {
        let left = exec("ps | grep -c '[s]leep 4321'", Duration::from_secs(10)).await;
        (left.output.trim() == "0").then_some(())
    })
    .await;
    let missing = machine.backend.exec(&launch, &["no-such-program".to_owned()], Duration::from_secs(5)).await;
    assert!(matches!(&missing, Err(Error::CommandNotFound { program, .. }) if program == "no-such-program"), "{missing:?}");
    machine.running(&key).await;
}
