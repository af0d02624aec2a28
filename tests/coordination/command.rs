//! `mesh lock run` and `mesh leader run`, by people and in instances.
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mesh_controller_sdk::Options;
use mesh_gear::{
    controller::{descendants_named, kill, until},
    machine::there,
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
fn inside(rig: &Rig, worker: &Worker, words: &[&str]) -> Command {
    let mut command = Command::new(program("mesh"));
    command.args(words).env("MESH_AGENT", format!("unix://{}", rig.socket())).env("MESH_TOKEN_FILE", &worker.token);
    command
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn pid(child: &Child) -> i64 {
    i64::from(child.id())
}

/// Waits for a holder of a lock, whose command is one of this name.
async fn runs(rig: &Rig, line: &str) {
    until("the command under its lock", async || (descendants_named(line) > 0 && !rig.leases().is_empty()).then_some(())).await;
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
    assert!(code == Some(127) && error.contains("start /no/such/program"), "{code:?} {error}");
    let (code, _, error) = said(&mut mesh(&rig, &["lock", "run", "backup", "--", "/etc/passwd"]));
    assert!(code == Some(126) && error.contains("start /etc/passwd"), "{code:?} {error}");
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
    let child = start(&mut inside(&rig, worker, &["leader", "run", "one", "--ttl", "3s", "--", "sh", "-c", script]));
    runs(&rig, left).await;
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
    let line = "sleep\u{0}123458";
    let script = "trap '' TERM; setsid sleep 123458 & sleep 123458";
    let stopped = start(&mut inside(&rig, &workers[0], &["lock", "run", "k", "--ttl", "2s", "--", "sh", "-c", script]));
    runs(&rig, line).await;
    kill(pid(&stopped), "-STOP");
    let options = Options { wait: Some(Duration::from_secs(60)), ..Options::default() };
    let next = workers[1].mesh.locks().acquire("k", &options).await.unwrap();
    assert_eq!(descendants_named(line), 0, "it is ended before another has the lock");
    kill(pid(&stopped), "-CONT");
    let end = stopped.wait_with_output().unwrap();
    assert_eq!(end.status.code(), Some(6), "{end:?}");
    assert!(next.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_a_mesh_that_is_killed() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    let line = "sleep\u{0}123459";
    let script = "trap '' TERM HUP; setsid sleep 123459 & sleep 123459";
    let words = ["lock", "run", "k", "--ttl", "60s", "--wait", "1m", "--", "sh", "-c", script];
    for mut command in [mesh(&rig, &words), inside(&rig, worker, &words)] {
        let mut child = start(&mut command);
        runs(&rig, line).await;
        child.kill().unwrap();
        child.wait().unwrap();
        until("the command's end", async || (descendants_named(line) == 0).then_some(())).await;
        rig.controller.kubectl(&["delete", "lease", "--all"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_ends_with_a_guard_that_is_killed() {
    let rig = Rig::start(1).await;
    let line = "sleep\u{0}123460";
    let child = start(&mut mesh(&rig, &["lock", "run", "k", "--", "sh", "-c", "setsid sleep 123460 & sleep 123460"]));
    runs(&rig, line).await;
    let guard = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    kill(guard.trim().parse().unwrap(), "-KILL");
    let end = child.wait_with_output().unwrap();
    assert!(end.status.code() == Some(1) && String::from_utf8_lossy(&end.stderr).contains("guard"), "{end:?}");
    assert_eq!((descendants_named(line), rig.leases().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_reach_the_command_and_a_second_one_that_ends_kills_it() {
    let rig = Rig::start(1).await;
    let script = "trap 'echo int' INT; trap 'echo term' TERM; trap 'echo usr' USR1; echo ready; while :; do sleep 0.05; done";
    let mut child = start(&mut mesh(&rig, &["lock", "run", "k", "--", "sh", "-c", script]));
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut says = |expected: &str| {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), expected);
    };
    says("ready");
    for (signal, expected) in [("-USR1", "usr"), ("-USR1", "usr"), ("-INT", "int")] {
        kill(pid(&child), signal);
        says(expected);
    }
    let end = until("its end", async || {
        kill(pid(&child), "-TERM");
        child.try_wait().unwrap()
    });
    assert_eq!(end.await.code(), Some(137));
    assert!(rig.leases().is_empty(), "it is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_has_the_terminal_and_gets_its_ctrl_c_once() {
    if !there(Command::new("script").arg("--version").output().is_ok_and(|end| end.status.success()), "script") {
        return;
    }
    let rig = Rig::start(1).await;
    let caught = rig.controller.write("caught", &serde_json::json!(""));
    fs::write(&caught, "").unwrap();
    let inner = format!("trap 'printf x >> {caught}' INT; echo ready; until [ \"$a\" = hello ]; do read a; done; exit 5");
    let line = format!(
        // `script` has a shell between itself and the program, and not every one gives its place to the last command by itself.
        "exec {} --state-dir {} lock run k -- sh -c '{}'",
        program("mesh").display(),
        rig.controller.state_dir(),
        inner.replace('\'', "'\\''")
    );
    let mut terminal =
        Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("ready") {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{shown}");
        shown.push(char::from(byte[0]));
    }
    keys.write_all(b"\x03").unwrap();
    until("Ctrl-C", async || (!fs::read_to_string(&caught).unwrap().is_empty()).then_some(())).await;
    keys.write_all(b"hello\n").unwrap();
    assert_eq!(terminal.wait().unwrap().code(), Some(5));
    assert_eq!(fs::read_to_string(&caught).unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_lease_is_removed_is_killed_at_once_and_one_not_renewed_is_asked_first() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    let line = "sleep\u{0}123461";
    let script = "trap 'echo asked' TERM; sleep 123461 & while :; do wait; done";
    let words = ["lock", "run", "k", "--ttl", "10s", "--", "sh", "-c", script];
    for mut command in [mesh(&rig, &words), inside(&rig, worker, &words)] {
        let child = start(&mut command);
        runs(&rig, line).await;
        rig.controller.kubectl(&["delete", "lease", "--all"]);
        let end = child.wait_with_output().unwrap();
        assert!(end.status.code() == Some(6) && end.stdout.is_empty(), "{end:?}");
    }
    let child = start(&mut inside(&rig, worker, &words));
    runs(&rig, line).await;
    // Nobody can renew it any more.
    kill(pid(&child), "-STOP");
    until("its end", async || (descendants_named(line) == 0).then_some(())).await;
    kill(pid(&child), "-CONT");
    let end = child.wait_with_output().unwrap();
    assert!(end.status.code() == Some(6) && String::from_utf8_lossy(&end.stdout).contains("asked"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_stopped_nobody_in_its_process_group_is_hung_up_on() {
    let rig = Rig::start(1).await;
    let line = "sleep\u{0}123462";
    let script = format!(
        "{} --state-dir {} lock run k --ttl 2s -- sleep 123462; echo it ended with $?",
        program("mesh").display(),
        rig.controller.state_dir()
    );
    // A session of its own, as cron or systemd makes one: the kernel hangs up on a process group that is looked after no more and has one that is stopped.
    let shell = start(Command::new("setsid").args(["sh", "-c", &script]).env_remove("MESH_AGENT"));
    runs(&rig, line).await;
    let mesh: i64 = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id())).unwrap().trim().parse().unwrap();
    kill(mesh, "-STOP");
    until("the command's end", async || (descendants_named(line) == 0).then_some(())).await;
    kill(mesh, "-CONT");
    let end = shell.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&end.stdout), "it ended with 6\n", "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_the_instances_is_asked_of_the_api() {
    let rig = Rig::start(1).await;
    let worker = &rig.workers()[0];
    rig.controller.kubectl(&["create", "namespace", "other"]);
    let kubeconfig = format!("{}/kubeconfig", rig.controller.state_dir());
    let holders = |namespace: &str| {
        let script = format!("{} lock ls -n {namespace} --json", program("mesh").display());
        let words = ["lock", "run", "k", "-n", namespace, "--", "sh", "-c", &script];
        let (code, out, error) = said(inside(&rig, worker, &words).env("KUBECONFIG", &kubeconfig));
        assert_eq!(code, Some(0), "{error}");
        let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
        (listed[0]["namespace"].as_str().unwrap().to_owned(), listed[0]["holder"].as_str().unwrap() == worker.name)
    };
    assert_eq!(holders("default"), ("default".to_owned(), true), "the instance holds it, at its door");
    assert_eq!(holders("other"), ("other".to_owned(), false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_does_not_answer_is_named_and_only_one_who_waits_is_said_to_wait() {
    let rig = Rig::start(1).await;
    let held = rig.workers()[0].mesh.locks().acquire("k", &Options::default()).await.unwrap();
    let (_, _, error) = said(&mut mesh(&rig, &["lock", "run", "k", "--", "true"]));
    assert!(!error.contains("waiting"), "{error}");
    let (_, _, error) = said(&mut mesh(&rig, &["lock", "run", "k", "--wait", "1s", "--", "true"]));
    assert_eq!(error.matches("waiting for").count(), 1, "{error}");
    held.release().await;
    let kubeconfig = fs::read_to_string(format!("{}/kubeconfig", rig.controller.state_dir())).unwrap();
    let server = kubeconfig.split_whitespace().find(|word| word.starts_with("https://")).unwrap();
    let elsewhere = rig.controller.write("elsewhere", &serde_json::json!(""));
    fs::write(&elsewhere, kubeconfig.replace(server, "https://127.0.0.1:1")).unwrap();
    let mut command = Command::new(program("mesh"));
    let (code, _, error) = said(command.args(["--kubeconfig", &elsewhere, "lock", "run", "k", "--", "true"]).env_remove("MESH_AGENT"));
    assert!(code == Some(5) && error.contains("nothing answers at https://127.0.0.1:1"), "{code:?} {error}");
}
