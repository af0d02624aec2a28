//! `mesh lock run` and `mesh leader run`, by people and in instances.
use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use mesh_controller_sdk::Options;
use mesh_gear::{
    controller::{descendants_named, until},
    program::program,
};

use crate::rig::{Rig, Worker};

/// `mesh` of a person beside the controller.
fn mesh(rig: &Rig, words: &[&str]) -> Command {
    let mut command = Command::new(program("mesh"));
    command.args(["--state-dir", &rig.controller.state_dir()]).args(words).env_remove("MESH_AGENT");
    command
}

/// `mesh` in an instance.
fn inside(rig: &Rig, worker: &Worker, words: &[&str]) -> Child {
    let mut command = Command::new(program("mesh"));
    command.args(words).env("MESH_AGENT", format!("unix://{}", rig.socket())).env("MESH_TOKEN_FILE", &worker.token);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let end = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (end.status.code(), text(end.stdout), text(end.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_under_a_lock_with_its_fence_and_gives_its_exit_code() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    let (code, out, error) = said(&mut mesh(&rig, &["lock", "run", "backup", "--", "sh", "-c", "echo fence $MESH_FENCE; exit 7"]));
    assert!(code == Some(7) && out.starts_with("fence "), "{code:?} {out} {error}");
    assert_eq!(said(&mut mesh(&rig, &["lock", "run", "backup", "--", "sh", "-c", "kill -9 $$"])).0, Some(137));
    let (code, _, error) = said(&mut mesh(&rig, &["lock", "run", "backup", "--", "/no/such/program"]));
    assert!(code == Some(1) && error.contains("start /no/such/program"), "{code:?} {error}");
    assert!(rig.leases().is_empty());

    let held = worker.mesh.locks().acquire("backup", &Options::default()).await.unwrap();
    let (code, _, error) = said(&mut mesh(&rig, &["lock", "run", "backup", "--", "true"]));
    assert!(code == Some(6) && error.contains(&format!("held by {}", worker.name)) && error.contains("--wait"), "{code:?} {error}");
    let (_, out, _) = said(&mut mesh(&rig, &["lock", "ls"]));
    assert!(out.contains("LOCK") && out.contains("backup") && out.contains(&worker.name), "{out}");
    let (_, out, _) = said(&mut mesh(&rig, &["locks", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    let keys: Vec<&str> = listed[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["acquiredAt", "expiresAt", "key", "metadata", "ownerId"], "as the first seed has it");
    held.release().await;
    assert_eq!(said(&mut mesh(&rig, &["lock", "ls"])).1, "(none)\n");

    // What can never be is told at once, however long it would wait.
    let (code, _, error) = said(&mut mesh(&rig, &["-n", "nowhere", "lock", "run", "k", "--wait", "1h", "--", "true"]));
    assert!(code == Some(1) && error.contains("namespaces \"nowhere\" not found"), "{code:?} {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_lock_is_lost_is_ended_with_all_that_it_started() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    // A child of its own session, which a signal to the group would miss.
    let left = "sleep\u{0}123457";
    let script = "trap '' TERM; setsid sleep 123457 & wait; wait";
    let child = inside(&rig, worker, &["leader", "run", "one", "--ttl", "3s", "--", "sh", "-c", script]);
    until("it to lead", async || (descendants_named(left) == 1 && rig.leases().len() == 1).then_some(())).await;
    rig.controller.kubectl(&["delete", "lease", "one"]);
    let end = child.wait_with_output().unwrap();
    assert_eq!(end.status.code(), Some(6), "{end:?}");
    assert!(String::from_utf8_lossy(&end.stderr).contains("is lost"), "{end:?}");
    assert_eq!(descendants_named(left), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_stopped_loses_it_to_the_next_and_knows_it_when_it_wakes() {
    let rig = Rig::start(2).await;
    let workers = rig.workers();
    let stopped = inside(&rig, &workers[0], &["lock", "run", "k", "--ttl", "2s", "--", "sleep", "123458"]);
    let held = || rig.leases().first().is_some_and(|(_, holder)| holder.starts_with(&workers[0].name));
    until("it to hold the lock", async || held().then_some(())).await;
    let pid = i64::from(stopped.id());
    mesh_gear::controller::kill(pid, "-STOP");
    let options = Options { wait: Some(Duration::from_secs(60)), ..Options::default() };
    let next = workers[1].mesh.locks().acquire("k", &options).await.unwrap();
    mesh_gear::controller::kill(pid, "-CONT");
    let end = stopped.wait_with_output().unwrap();
    assert_eq!(end.status.code(), Some(6), "{end:?}");
    assert_eq!(descendants_named("sleep\u{0}123458"), 0);
    assert!(next.is_held());
}
