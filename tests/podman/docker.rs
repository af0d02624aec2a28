//! The calls that a Docker engine would get, answered by Podman's compatible API: there is no Docker here.
use std::time::Duration;

use mesh_controller::{backend::engine::Engine, plan::instance::PortOwner};

use super::{
    fixture::{Machine, answers, eventually},
    host::{host, podman},
};

#[tokio::test]
async fn the_shared_dialect_is_enough_for_a_whole_life() {
    let Some(host) = host() else { return };
    let machine = Machine::on(Engine::open_as_docker(&host.socket).await.unwrap(), "docker", tempfile::tempdir().unwrap()).await;
    let mut launch = machine.server("web");
    launch.container.command[2] =
        format!("grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /x 2>/dev/null || echo read-only; {}", launch.container.command[2]);
    let key = machine.start(&launch).await;
    eventually("listener", async || (machine.running(&key).await.port_owner == PortOwner::Ours).then_some(())).await;
    assert!(answers(machine.running(&key).await.address.unwrap()).await);
    let words = "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nread-only\nup\n";
    // conmon writes them down in its own time.
    eventually("its words", async || (machine.log(&key).await == words).then_some(())).await;
    assert_eq!(machine.backend.usage().await.unwrap().len(), 1);
    machine.stop(&key, Duration::from_secs(5)).await;
    machine.exited(&key).await;
    launch.attempt = 1;
    machine.start(&launch).await;
    assert_eq!(machine.running(&key).await.attempt, 1);
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
    machine.remove(&key).await;
    assert_eq!(podman(&["ps", "-aq", "--filter", &machine.filter()]).await.unwrap(), "");
    assert_eq!(podman(&["network", "ls", "-q", "--filter", &machine.filter()]).await.unwrap(), "");
}
