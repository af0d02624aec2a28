//! What goes wrong behind our back: processes killed, containers stopped, paused and removed by hand, an engine that is killed.
use std::time::Duration;

use futures::StreamExt;
use mesh_controller::{
    backend::{Error, engine::Engine},
    plan::instance::{ExitHow, InstanceKey, Observed},
};
use rustix::process::Signal;
use tokio::time::Instant;

use super::{
    fixture::{IDLE, Machine, answers, eventually},
    host::{host, podman, signal},
};

async fn conmon(machine: &Machine, name: &str) -> i32 {
    machine.inspect(name, "{{.State.ConmonPid}}").await.parse().unwrap()
}

/// Waits until the backend says of its own accord that the instance is to be looked at, and gives what it is then.
async fn seen(machine: &Machine, key: &InstanceKey, cause: impl AsyncFnOnce()) -> Observed {
    let mut changes = machine.backend.changes();
    cause().await;
    let told = async {
        loop {
            changes.next().await.unwrap();
            match machine.backend.observe(key).await.unwrap() {
                Observed::Running(_) => {}
                ended => return ended,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap_or_else(|_| panic!("nobody said that it should be looked at"))
}

#[tokio::test]
async fn kill_9_of_the_program_is_seen_at_once() {
    let Some(machine) = Machine::new("kill").await else { return };
    let key = machine.start(&machine.sh("web", IDLE)).await;
    let pid = i32::try_from(machine.running(&key).await.pid).unwrap();
    let mut changes = machine.backend.changes();
    let begun = Instant::now();
    signal(pid, Signal::KILL);
    changes.next().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));
}

#[tokio::test]
async fn kill_9_of_conmon_leaves_the_program_and_its_end_is_seen_all_the_same() {
    let Some(machine) = Machine::new("conmon").await else { return };
    let mut launch = machine.server("web");
    let key = machine.start(&launch).await;
    let pid = i32::try_from(machine.running(&key).await.pid).unwrap();
    signal(conmon(&machine, "web").await, Signal::KILL);
    assert!(matches!(machine.another().await.observe(&key).await.unwrap(), Observed::Running(_)));
    let ended = seen(&machine, &key, async || signal(pid, Signal::KILL)).await;
    let Observed::Exited(exit) = ended else { panic!("{ended:?}") };
    assert_eq!(exit.how, ExitHow::Unknown);
    let Observed::Exited(again) = machine.backend.observe(&key).await.unwrap() else { panic!("ended") };
    assert_eq!(again.at, exit.at, "its end stays when it was first seen");
    launch.attempt = 1;
    machine.start(&launch).await;
    let address = machine.running(&key).await.address.unwrap();
    eventually("answer on the same port", async || answers(address).await.then_some(())).await;
    machine.stop(&key, Duration::from_secs(2)).await;
    machine.exited(&key).await;
    machine.remove(&key).await;
}

#[tokio::test]
async fn a_program_without_conmon_can_be_stopped_and_removed() {
    let Some(machine) = Machine::new("orphan").await else { return };
    let key = machine.start(&machine.sh("web", IDLE)).await;
    machine.running(&key).await;
    signal(conmon(&machine, "web").await, Signal::KILL);
    machine.stop(&key, Duration::from_secs(2)).await;
    eventually("end", async || {
        let observed = machine.backend.observe(&key).await;
        matches!(observed, Ok(Observed::Exited(_) | Observed::Absent)).then_some(())
    })
    .await;
    machine.remove(&key).await;
    assert_eq!(podman(&["ps", "-aq", "--filter", &machine.filter()]).await.unwrap(), "");
}

#[tokio::test]
async fn what_is_removed_or_stopped_by_hand_is_seen() {
    let Some(machine) = Machine::new("hand").await else { return };
    let mut launch = machine.sh("web", IDLE);
    let key = machine.start(&launch).await;
    let name = launch.container.name.clone();
    machine.running(&key).await;
    let removed = seen(&machine, &key, async || drop(podman(&["rm", "-f", "-t", "1", &name]).await.unwrap())).await;
    // On the way to its removal it is seen as ended, too.
    assert!(matches!(removed, Observed::Absent | Observed::Exited(_)), "{removed:?}");
    eventually("absence", async || (machine.backend.observe(&key).await.unwrap() == Observed::Absent).then_some(())).await;
    launch.attempt = 1;
    machine.start(&launch).await;
    machine.running(&key).await;
    let stopped = seen(&machine, &key, async || drop(podman(&["stop", "-t", "5", &name]).await.unwrap())).await;
    assert!(matches!(&stopped, Observed::Exited(exit) if exit.attempt == 1), "{stopped:?}");
}

#[tokio::test]
async fn one_that_was_paused_by_hand_can_be_stopped() {
    let Some(machine) = Machine::new("pause").await else { return };
    let launch = machine.sh("web", IDLE);
    let key = machine.start(&launch).await;
    podman(&["pause", &launch.container.name]).await.unwrap();
    machine.running(&key).await;
    machine.stop(&key, Duration::from_secs(5)).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Code(0));
}

#[tokio::test]
async fn containers_live_through_the_engines_death_and_are_seen_again_after_it() {
    let Some(host) = host().filter(|host| !host.external) else { return };
    let mut service = host.service("mortal");
    let engine = Engine::open(&service.socket).await.unwrap();
    let machine = Machine::on(engine, "mortal", tempfile::tempdir().unwrap()).await;
    let mut health = machine.backend.health();
    let (web, gone) = (machine.server("web"), machine.sh("gone", IDLE));
    let (web, gone) = (machine.start(&web).await, machine.start(&gone).await);
    let before = machine.running(&web).await;
    let victim = i32::try_from(machine.running(&gone).await.pid).unwrap();

    service.kill();
    health.wait_for(Result::is_err).await.unwrap();
    assert!(health.borrow().as_ref().unwrap_err().contains("mortal.sock"), "{:?}", *health.borrow());
    assert_eq!(machine.running(&web).await.pid, before.pid, "the kernel says that it runs");
    signal(victim, Signal::KILL);
    assert_eq!(machine.exited(&gone).await.how, ExitHow::Unknown, "the kernel says that it has ended, and nobody how");
    let error = machine.refused(&machine.sh("new", IDLE)).await;
    assert!(matches!(error, Error::EngineUnreachable { .. }) && error.to_string().contains("podman.socket"), "{error}");

    let mut changes = machine.backend.changes();
    service.restart();
    health.wait_for(Result::is_ok).await.unwrap();
    changes.next().await.unwrap();
    let told = eventually("exit code", async || Some(machine.exited(&gone).await.how).filter(|how| *how != ExitHow::Unknown)).await;
    assert_eq!(told, ExitHow::Signal(9), "conmon kept its exit code");
    assert_eq!(machine.running(&web).await.pid, before.pid);
    machine.stop(&web, Duration::from_secs(2)).await;
    machine.exited(&web).await;
}

#[tokio::test]
async fn a_stop_that_the_engine_took_to_its_grave_is_asked_for_again() {
    let Some(host) = host().filter(|host| !host.external) else { return };
    let mut service = host.service("forgetful");
    let machine = Machine::on(Engine::open(&service.socket).await.unwrap(), "forgetful", tempfile::tempdir().unwrap()).await;
    let key = machine.start(&machine.sh("web", "trap '' TERM; while :; do sleep 1; done")).await;
    machine.running(&key).await;
    machine.stop(&key, Duration::from_secs(4)).await;
    service.kill();
    service.restart();
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));
}
