//! The controller dies, or a shim does, or the record lies.
use std::{process::Stdio, time::Duration};

use futures::StreamExt;
use mesh_backend::LogQuery;
use mesh_plan::instance::{ExitHow, InstanceKey, Observed};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::fixture::{Machine, eventually, kill, lives, program, sh, words};

fn record(machine: &Machine, key: &InstanceKey) -> Value {
    serde_json::from_slice(&std::fs::read(machine.dir(key).join("record.json")).unwrap()).unwrap()
}

fn shim_of(machine: &Machine, key: &InstanceKey) -> i32 {
    record(machine, key)["shim"]["pid"].as_i64().unwrap().try_into().unwrap()
}

#[tokio::test]
async fn the_next_controller_adopts_the_same_process_and_hears_of_its_end() {
    let machine = Machine::new();
    let key = machine.start(program("kept", &["sleep", "1000"])).await.unwrap();
    let before = machine.running(&key).await;
    let machine = machine.reborn();
    let mut changes = machine.backend.changes();
    assert_eq!(machine.backend.list().await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(machine.running(&key).await, before);
    machine.stop(&key, Duration::from_secs(60)).await;
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap(), Some(key.clone()));
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(15));
}

#[tokio::test]
#[ignore = "run by the next test, as a process of its own"]
async fn a_controller_to_be_killed() {
    let Some(state) = std::env::var_os("MESH_TEST_STATE") else { return };
    let (shutdown, _supervisor) = mesh_kit::shutdown::Shutdown::new();
    let backend = mesh_backend::process::ProcessBackend::new(state.as_ref(), super::fixture::SHIM.into(), shutdown).unwrap();
    let launch = program("survivor", &["sleep", "1000"]);
    backend.execute(mesh_plan::instance::Action::Start(Box::new(mesh_plan::instance::Launch::Process(launch)))).await.unwrap();
    std::fs::write(std::path::Path::new(&state).join("started"), "yes\n").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn kill_minus_nine_of_the_controllers_whole_process_group_leaves_the_program_to_the_next_one() {
    use std::os::unix::process::CommandExt;
    let machine = Machine::new();
    let mut controller = std::process::Command::new(std::env::current_exe().unwrap());
    controller.args(["--exact", "adoption::a_controller_to_be_killed", "--ignored", "--nocapture"]);
    controller.env("MESH_TEST_STATE", machine.state.path()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut controller = controller.spawn().unwrap();
    words(&machine.state.path().join("started"), 1).await;
    let key = program("survivor", &[]).key;
    let pid = record(&machine, &key)["child"]["pid"].as_u64().unwrap();
    let group = rustix::process::Pid::from_raw(controller.id().try_into().unwrap()).unwrap();
    for signal in [Signal::INT, Signal::HUP, Signal::KILL] {
        rustix::process::kill_process_group(group, signal).unwrap();
    }
    controller.wait().unwrap();
    assert_eq!(u64::from(machine.running(&key).await.pid), pid);
    machine.stop(&key, Duration::from_secs(60)).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(15));
}

#[tokio::test]
async fn an_end_while_no_controller_lived_is_known_with_its_code_and_its_output() {
    let machine = Machine::new();
    let go = machine.state.path().join("go");
    let key =
        machine.start(sh("ended", &format!("while ! test -e {}; do sleep 0.01; done; echo bye; exit 42", go.display()))).await.unwrap();
    let shim = shim_of(&machine, &key).to_string();
    let machine = machine.reborn();
    std::fs::write(go, "").unwrap();
    eventually("end of the shim", async || (!lives(&shim)).then_some(())).await;
    let machine = machine.reborn();
    assert_eq!(machine.exited(&key).await.how, ExitHow::Code(42));
    let log: Vec<_> = machine.backend.logs(&key, LogQuery::default()).map(Result::unwrap).collect().await;
    assert_eq!(log.concat(), b"bye\n");
}

#[tokio::test]
async fn a_stop_goes_on_to_its_end_without_a_controller() {
    let machine = Machine::new();
    let out = machine.state.path().join("ready");
    let key =
        machine.start(sh("stopped", &format!("trap '' TERM; echo ok > {}; while :; do sleep 0.05; done", out.display()))).await.unwrap();
    words(&out, 1).await;
    let shim = shim_of(&machine, &key).to_string();
    machine.stop(&key, Duration::from_millis(400)).await;
    let machine = machine.reborn();
    assert!(machine.running(&key).await.stopping, "the record says so");
    let machine = machine.reborn();
    eventually("end of the shim", async || (!lives(&shim)).then_some(())).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));
}

#[tokio::test]
async fn sigterm_to_the_shim_stops_its_program_and_other_signals_do_nothing() {
    let machine = Machine::new();
    let key = machine.start(program("machine-shutdown", &["sleep", "1000"])).await.unwrap();
    let shim = shim_of(&machine, &key);
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT] {
        kill(shim, signal);
    }
    assert!(!machine.running(&key).await.stopping);
    kill(shim, Signal::TERM);
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(15));
}

#[tokio::test]
async fn when_the_shim_is_killed_its_whole_tree_is_ended_and_the_status_is_unknown() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let script =
        format!("setsid sh -c 'echo $$ >> {0}; sleep 1000' & (setsid sh -c 'echo $$ >> {0}; sleep 1000' &) ; sleep 1000", out.display());
    let key = machine.start(sh("orphan", &script)).await.unwrap();
    let pids = words(&out, 2).await;
    let pid = machine.running(&key).await.pid.to_string();
    let mut changes = machine.backend.changes();
    kill(shim_of(&machine, &key), Signal::KILL);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap(), Some(key.clone()));
    assert_eq!(machine.exited(&key).await.how, ExitHow::Unknown);
    assert!(!lives(&pid) && !pids.iter().any(|pid| lives(pid)));
    assert_eq!(machine.exited(&key).await, machine.exited(&key).await, "it stays as it was found");
}

#[tokio::test]
async fn a_forged_record_never_gets_a_process_signalled() {
    let machine = Machine::new();
    let mut victim = std::process::Command::new("setsid").args(["sleep", "1000"]).stdin(Stdio::null()).spawn().unwrap();
    let pid = victim.id();
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start: u64 = text.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let (boot, nonce) = (boot.trim(), "0123456789abcdef0123456789abcdef");
    let forged = |boot: &str, start: u64, shim: u32, cgroup: Option<&str>| {
        json!({"key": {"namespace": "default", "name": "forged", "uid": "uid-forged"}, "attempt": 3, "port": null, "nonce": nonce,
            "bootId": boot, "shim": {"pid": shim, "start": 1}, "child": {"pid": pid, "start": start}, "since": "2026-01-01T00:00:00Z",
            "containment": "cgroup", "cgroup": cgroup, "stopping": null})
    };
    let cases = [
        forged(boot, start, 1, None),
        forged(boot, start + 1, pid, None),
        forged("another-boot", start, pid, None),
        forged(boot, start, 999_999_999, Some("/sys/fs/cgroup/unified")),
    ];
    let numbered = cases.into_iter().enumerate();
    for (number, case) in numbered {
        let key = InstanceKey { namespace: "default".into(), name: "forged".into(), uid: "uid-forged".into() };
        std::fs::create_dir_all(machine.dir(&key)).unwrap();
        let _ = std::fs::remove_file(machine.dir(&key).join("exit.json"));
        std::fs::write(machine.dir(&key).join("record.json"), case.to_string()).unwrap();
        let exit = machine.exited(&key).await;
        assert_eq!((exit.attempt, exit.how), (3, ExitHow::Unknown), "case {number}");
        machine.stop(&key, Duration::ZERO).await;
        assert!(victim.try_wait().unwrap().is_none(), "case {number}: the victim was signalled");
    }
    std::fs::write(machine.dir(&program("forged", &[]).key).join("record.json"), "no json").unwrap();
    assert_eq!(machine.backend.observe(&program("forged", &[]).key).await.unwrap(), Observed::Absent);
    assert!(victim.try_wait().unwrap().is_none());
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[tokio::test]
async fn a_copy_of_the_state_directory_does_not_end_the_originals_programs() {
    let machine = Machine::new();
    let key = machine.start(program("original", &["sleep", "1000"])).await.unwrap();
    let copy = Machine::new();
    std::fs::create_dir_all(copy.dir(&key)).unwrap();
    for name in ["record.json", "lock"] {
        std::fs::copy(machine.dir(&key).join(name), copy.dir(&key).join(name)).unwrap();
    }
    assert_eq!(copy.exited(&key).await.how, ExitHow::Unknown);
    assert!(lives(&machine.running(&key).await.pid.to_string()));
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
}

#[tokio::test]
async fn a_state_directory_deeper_than_a_socket_address_is_long_works() {
    let state = tempfile::tempdir().unwrap();
    let deep = state.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    let machine = Machine::over(tempfile::tempdir_in(&deep).unwrap());
    let key = machine.start(program("deep", &["sleep", "1000"])).await.unwrap();
    let machine = machine.reborn();
    machine.stop(&key, Duration::from_secs(60)).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(15));
}

#[tokio::test]
async fn an_instance_whose_shim_is_stopped_is_told_to_end_all_the_same_and_ended_after_its_grace() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let script = format!(
        "trap 'echo told >> {0}.told' TERM; setsid sh -c 'echo $$ > {0}; sleep 1000' & while :; do sleep 0.05; done",
        out.display()
    );
    let key = machine.start(sh("frozen", &script)).await.unwrap();
    let pids = words(&out, 1).await;
    let shim = shim_of(&machine, &key);
    kill(shim, Signal::STOP);
    machine.stop(&key, Duration::from_millis(500)).await;
    assert!(machine.running(&key).await.stopping);
    words(&std::path::PathBuf::from(format!("{}.told", out.display())), 1).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Unknown);
    assert!(!lives(&shim.to_string()) && !lives(&pids[0]));
}

#[tokio::test]
async fn a_shim_that_stops_after_it_was_told_does_not_hold_the_end_up_for_ever() {
    let machine = Machine::new();
    let key = machine.start(sh("late", "trap '' TERM; while :; do sleep 0.05; done")).await.unwrap();
    machine.stop(&key, Duration::from_secs(60)).await;
    let (shim, pid) = (shim_of(&machine, &key), machine.running(&key).await.pid.to_string());
    kill(shim, Signal::STOP);
    // A second stop is not heeded either; the sooner end holds.
    machine.stop(&key, Duration::ZERO).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Unknown);
    assert!(!lives(&pid));
}

#[tokio::test]
async fn a_daemon_that_carries_no_mark_is_ended_after_its_shim_was_killed() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let script = format!("(setsid env -i sh -c 'echo $$ > {}; sleep 1000' &); sleep 1000", out.display());
    let key = machine.start(sh("daemon", &script)).await.unwrap();
    let pids = words(&out, 1).await;
    let written = machine.dir(&key).join("strays.json");
    eventually("it to be written down", async || {
        let text = std::fs::read_to_string(&written).unwrap_or_default();
        text.contains(&format!("\"pid\":{},", pids[0])).then_some(())
    })
    .await;
    kill(shim_of(&machine, &key), Signal::KILL);
    // Neither does the controller live to see it.
    let machine = machine.reborn();
    assert_eq!(machine.exited(&key).await.how, ExitHow::Unknown);
    assert!(!lives(&pids[0]));
}
