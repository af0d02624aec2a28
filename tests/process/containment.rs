//! What a program is given and not given, and what holds its tree.
use std::{path::PathBuf, time::Duration};

use mesh_plan::instance::ExitHow;
use rustix::process::Signal;

use super::fixture::{Machine, kill, lives, program, sh, words};

#[tokio::test]
async fn a_program_gets_no_file_no_signal_setting_and_no_privilege_of_ours() {
    let machine = Machine::new();
    let leak = std::fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let out = machine.state.path().join("out");
    let script = r#"
import os, sys
fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
zero = lambda name: int(status[name], 16) & ~0x181001000  # those that Python (13, 25) and the C library (32, 33) set themselves
with open(sys.argv[1] + ".new", "w") as f:
    print(",".join(map(str, fds)), os.readlink("/proc/self/fd/0"), status["NoNewPrivs"].strip(), zero("SigBlk"), zero("SigIgn"), os.getpgrp() == os.getpid(), file=f)
os.rename(sys.argv[1] + ".new", sys.argv[1])
"#;
    let key = machine.start(program("clean", &["python3", "-c", script, out.to_str().unwrap()])).await.unwrap();
    assert_eq!(machine.exited(&key).await.how, ExitHow::Code(0));
    assert_eq!(words(&out, 6).await, ["0,1,2", "/dev/null", "1", "0", "0", "True"]);
    drop(leak);
}

/// A control group to play with, where this machine and user have one.
fn group() -> Option<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = table.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = PathBuf::from(mount).join(own).join(format!("mesh-test-{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    if std::fs::write(group.join("cgroup.procs"), std::process::id().to_string()).is_err() {
        std::fs::remove_dir(&group).unwrap();
        return None;
    }
    std::fs::write(group.parent().unwrap().join("cgroup.procs"), std::process::id().to_string()).unwrap();
    Some(group)
}

#[tokio::test]
async fn where_a_control_group_is_delegated_nothing_escapes_even_a_killed_shim() {
    let Some(group) = group() else {
        eprintln!("skipped: no control group of version 2 can be made here");
        return;
    };
    let mut machine = Machine::new();
    machine.backend = machine.backend.clone().with_cgroup(group.clone());
    let out = machine.state.path().join("pids");
    // Hides from group, session and nonce alike.
    let script = format!("(setsid env -i sh -c 'echo $$ >> {0}; sleep 1000' &); sleep 1000", out.display());
    let key = machine.start(sh("grouped", &script)).await.unwrap();
    let pids = words(&out, 1).await;
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(machine.dir(&key).join("record.json")).unwrap()).unwrap();
    assert_eq!(record["containment"], "cgroup");
    kill(record["shim"]["pid"].as_i64().unwrap().try_into().unwrap(), Signal::KILL);
    assert_eq!(machine.exited(&key).await.how, ExitHow::Unknown);
    assert!(!lives(&pids[0]));
    let again = machine.start(mesh_plan::instance::ProcessLaunch { attempt: 1, ..program("grouped", &["sleep", "1000"]) }).await.unwrap();
    machine.stop(&again, Duration::from_secs(60)).await;
    assert_eq!(machine.exited(&again).await.how, ExitHow::Signal(15));
    std::fs::remove_dir(group).unwrap();
}

#[tokio::test]
async fn a_shim_keeps_nothing_open_that_the_controllers_starter_had() {
    use rustix::fs::{FlockOperation, flock};
    let machine = Machine::new();
    let path = machine.state.path().join("starters-lock");
    let starters = std::fs::File::create(&path).unwrap();
    flock(&starters, FlockOperation::LockExclusive).unwrap();
    rustix::io::fcntl_setfd(&starters, rustix::io::FdFlags::empty()).unwrap();
    let key = machine.start(program("locked", &["sleep", "1000"])).await.unwrap();
    drop(starters);
    let again = std::fs::File::open(&path).unwrap();
    let free = flock(&again, FlockOperation::NonBlockingLockExclusive);
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(machine.dir(&key).join("record.json")).unwrap()).unwrap();
    let name = std::fs::read_to_string(format!("/proc/{}/comm", record["shim"]["pid"])).unwrap();
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
    assert_eq!(free, Ok(()), "the lock outlives its holder");
    assert_eq!(name, "mesh-shim\n");
}
