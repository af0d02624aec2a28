//! Start, look, stop, remove.
use std::time::Duration;

use futures::StreamExt;
use mesh_backend::Error;
use mesh_gear::port;
use mesh_kit::redact::Redacted;
use mesh_plan::instance::{Action, ExitHow, Observed, PortOwner};

use super::fixture::{Machine, eventually, kill, lives, program, sh, words};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_program_runs_with_its_own_environment_and_its_exit_code_is_known() {
    let machine = Machine::new();
    let mut changes = machine.backend.changes();
    let out = machine.state.path().join("out");
    let mut launch = sh("env", &format!("env > {0}.new; pwd >> {0}.new; mv {0}.new {0}; exit 7", out.display()));
    launch.env.push(("COLOUR".into(), Redacted::new("red")));
    let key = machine.start(launch).await.unwrap();
    assert_eq!(machine.exited(&key).await.how, ExitHow::Code(7));
    let text = std::fs::read_to_string(out).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).filter(|name| *name != "_").collect();
    assert_eq!(
        {
            let mut names = names;
            names.sort_unstable();
            names
        },
        ["COLOUR", "MESH_NONCE", "PATH", "PWD"]
    );
    assert_eq!(changes.next().await, Some(key.clone()), "the start");
    assert_eq!(changes.next().await, Some(key.clone()), "the end");
    assert_eq!(machine.backend.list().await.unwrap(), std::slice::from_ref(&key));
    machine.backend.execute(Action::Remove(key.clone())).await.unwrap();
    assert_eq!(machine.backend.observe(&key).await.unwrap(), Observed::Absent);
    assert!(!machine.dir(&key).exists());
}

#[tokio::test]
async fn a_start_that_is_repeated_or_doubled_makes_one_process() {
    let machine = Machine::new();
    let launch = program("once", &["sleep", "1000"]);
    let (first, second) = tokio::join!(machine.start(launch.clone()), machine.start(launch.clone()));
    let (key, _) = (first.unwrap(), second.unwrap());
    let pid = machine.running(&key).await.pid;
    machine.start(launch).await.unwrap();
    assert_eq!(machine.running(&key).await.pid, pid);
    assert!(matches!(machine.backend.execute(Action::Remove(key.clone())).await, Err(Error::StillRuns(_))));
    machine.stop(&key, LONG).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(15));
}

#[tokio::test]
async fn a_tree_that_ignores_sigterm_and_hides_is_ended_after_the_grace() {
    let machine = Machine::new();
    let out = machine.state.path().join("pids");
    let script = format!(
        r#"
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def note(): os.write(fd, b"%d\n" % os.getpid())
fd = os.open({out:?}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear(); note(); time.sleep(1000)
    os._exit(0)
if os.fork() == 0:
    os.setsid(); note(); time.sleep(1000)
note()
time.sleep(1000)
"#
    );
    let key = machine.start(program("stubborn", &["python3", "-c", &script])).await.unwrap();
    let pids = words(&out, 3).await;
    machine.stop(&key, Duration::from_millis(300)).await;
    assert!(machine.running(&key).await.stopping);
    assert!(pids.iter().all(|pid| lives(pid)), "within the grace");
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));
    assert!(!pids.iter().any(|pid| lives(pid)), "nothing is left");
}

#[tokio::test]
async fn a_second_stop_can_only_shorten_the_grace() {
    let machine = Machine::new();
    let out = machine.state.path().join("ready");
    let key = machine.start(sh("patient", &format!("trap '' TERM; echo ok > {}; while :; do sleep 1; done", out.display()))).await.unwrap();
    words(&out, 1).await;
    machine.stop(&key, LONG).await;
    machine.stop(&key, LONG * 60).await;
    assert!(machine.running(&key).await.stopping);
    machine.stop(&key, Duration::ZERO).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));
}

#[tokio::test]
async fn what_a_program_leaves_behind_when_it_ends_by_itself_is_ended_too() {
    let machine = Machine::new();
    let out = machine.state.path().join("pid");
    let key = machine
        .start(sh("leaver", &format!("setsid sh -c 'echo $$ > {}; sleep 1000' & while ! test -s {0}; do :; done; exit 3", out.display())))
        .await
        .unwrap();
    let pids = words(&out, 1).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Code(3));
    assert!(!lives(&pids[0]));
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_an_error_of_the_start_and_leaves_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let write = |name: &str, text: &str| {
        let path = machine.state.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cases = [
        (write("no-interpreter", "#!/nope/python\n"), "the interpreter that it names"),
        (write("no-format", "echo this must not run > ran\n"), "no #! line names an interpreter"),
        ("/nope/web".to_owned(), "no such program"),
        ("web-nope".to_owned(), "no such program in PATH /usr/bin:/bin"),
    ];
    for (file, text) in cases {
        let error = machine.start(program("broken", &[&file])).await.unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(&file), "{error}");
    }
    let mut wide = program("broken", &["true"]);
    wide.env.push(("WIDE".into(), Redacted::new("x".repeat(300_000))));
    let error = machine.start(wide).await.unwrap_err().to_string();
    assert!(error.contains("longer than the system allows") && !error.contains("xxx"), "{error}");
    let error = machine.start(program("broken", &["true", "a\0b"])).await.unwrap_err().to_string();
    assert!(error.contains("nul byte"), "{error}");
    assert_eq!(machine.backend.observe(&program("broken", &[]).key).await.unwrap(), Observed::Absent);
    assert_eq!(std::fs::read_dir(machine.state.path().join("instances")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_port_is_ours_only_when_our_own_tree_listens() {
    let machine = Machine::new();
    let other = std::net::TcpListener::bind(port::unused()).unwrap();
    let port = other.local_addr().unwrap().port();
    let script = r#"
import socket, sys, time, os
port = int(sys.argv[1])
if os.fork() == 0:
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try: s.bind(("127.0.0.1", port)); break
        except OSError: time.sleep(0.01)
    s.listen(); time.sleep(1000)
os.wait()
"#;
    let mut launch = program("server", &["python3", "-c", script, &port.to_string()]);
    launch.port = Some(port);
    let key = machine.start(launch).await.unwrap();
    let owner = machine.running(&key).await.port_owner;
    assert!(matches!(&owner, PortOwner::Foreign(who) if who.contains(&format!("pid {}", std::process::id()))), "{owner:?}");
    assert!(!machine.backend.port_is_free(port).unwrap());
    drop(other);
    let running = eventually("listener of our own", async || {
        let running = machine.running(&key).await;
        (running.port_owner == PortOwner::Ours).then_some(running)
    })
    .await;
    assert_eq!(running.address, Some(([127, 0, 0, 1], port).into()));
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
    assert!(machine.backend.port_is_free(port).unwrap());
}

#[tokio::test]
async fn secrets_are_neither_on_a_command_line_nor_in_the_state_directory() {
    let machine = Machine::new();
    let canary = "canary-5f1c9e";
    let mut launch = program("secret", &["sleep", "1000"]);
    launch.env.push(("PASSWORD".into(), Redacted::new(canary)));
    let key = machine.start(launch).await.unwrap();
    let mut files = vec![machine.state.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            assert!(!String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(canary), "{}", path.display());
        }
    }
    for pid in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(pid.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(canary));
    }
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
}

#[tokio::test]
async fn an_instance_whose_directory_was_removed_under_it_can_still_be_ended() {
    let machine = Machine::new();
    let key = machine.start(program("homeless", &["sleep", "1000"])).await.unwrap();
    let pid = machine.running(&key).await.pid.to_string();
    std::fs::remove_dir_all(machine.dir(&key)).unwrap();
    machine.stop(&key, Duration::from_secs(60)).await;
    eventually("end of the instance", async || (machine.backend.observe(&key).await.unwrap() == Observed::Absent).then_some(())).await;
    assert!(!lives(&pid));
}

#[tokio::test]
async fn an_instance_whose_directory_is_gone_ends_when_no_controller_is_connected() {
    let mut machine = Machine::new();
    let kept = machine.start(program("kept", &["sleep", "1000"])).await.unwrap();
    let forgotten = machine.start(program("forgotten", &["sleep", "1000"])).await.unwrap();
    let [kept_pid, pid] = [machine.running(&kept).await.pid, machine.running(&forgotten).await.pid].map(|pid| pid.to_string());
    std::fs::remove_dir_all(machine.dir(&forgotten)).unwrap();
    machine = machine.reborn();
    eventually("end of the program that nobody can find", async || (!lives(&pid)).then_some(())).await;
    assert!(lives(&kept_pid), "one that can be found runs on without a controller");
    assert_eq!(machine.backend.list().await.unwrap(), [kept]);
}

#[tokio::test]
async fn a_port_that_another_program_has_taken_over_is_told_of_at_once_and_so_is_its_return() {
    let machine = Machine::new();
    let port = port::unused().port();
    let script = r#"
import signal, socket, sys, time
def listen():
    while True:
        s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try: s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); return s
        except OSError: s.close(); time.sleep(0.01)
s = listen()
signal.sigwait({signal.SIGUSR1}); s.close()
signal.sigwait({signal.SIGUSR2}); s = listen(); time.sleep(1000)
"#;
    // Blocked, so that they wait for sigwait.
    let script = format!("import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGUSR1, signal.SIGUSR2}})\n{script}");
    let mut launch = program("closes", &["python3", "-c", &script, &port.to_string()]);
    launch.port = Some(port);
    let key = machine.start(launch).await.unwrap();
    let owner = async || machine.running(&key).await.port_owner;
    eventually("listener", async || (owner().await == PortOwner::Ours).then_some(())).await;
    let pid = i32::try_from(machine.running(&key).await.pid).unwrap();
    let mut changes = machine.backend.changes();
    let mut told = async || tokio::time::timeout(Duration::from_secs(10), changes.next()).await.unwrap().unwrap();
    kill(pid, rustix::process::Signal::USR1);
    assert_eq!(told().await, key, "without being asked");
    assert_eq!(owner().await, PortOwner::Nobody);
    let thief = eventually("the port", async || std::net::TcpListener::bind(("127.0.0.1", port)).ok()).await;
    assert_eq!(told().await, key);
    let taken = owner().await;
    assert!(matches!(&taken, PortOwner::Foreign(who) if who.contains(&format!("pid {}", std::process::id()))), "{taken:?}");
    kill(pid, rustix::process::Signal::USR2);
    drop(thief);
    eventually("own listener", async || (owner().await == PortOwner::Ours).then_some(())).await;
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
}
