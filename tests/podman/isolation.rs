//! Several on one engine: nobody touches what is another's.
use std::time::Duration;

use mesh_controller::backend::Error;

use super::{
    fixture::{IDLE, Machine},
    host::{IMAGE, podman},
};

#[tokio::test]
async fn two_controllers_on_one_engine_see_only_their_own() {
    let Some(first) = Machine::new("one").await else { return };
    let Some(second) = Machine::new("two").await else { return };
    let (a, b) = (first.start(&first.sh("web", IDLE)).await, second.start(&second.sh("web", IDLE)).await);
    assert_eq!((first.backend.list().await.unwrap(), second.backend.list().await.unwrap()), (vec![a.clone()], vec![b.clone()]));
    assert_eq!(first.backend.usage().await.unwrap().len(), 1);
    first.stop(&a, Duration::ZERO).await;
    first.exited(&a).await;
    first.remove(&a).await;
    second.running(&b).await;
    let mut same = second.sh("web", IDLE);
    same.container.network = format!("{}-x", second.prefix);
    second
        .start(&{
            let mut own = second.sh("own", IDLE);
            own.container.network = same.container.network.clone();
            own
        })
        .await;
    let mut taken = first.sh("web", IDLE);
    taken.container.network = same.container.network.clone();
    let error = first.refused(&taken).await;
    assert!(matches!(error, Error::NameTaken { what: "network", .. }), "{error}");
}

#[tokio::test]
async fn a_foreign_container_on_our_network_keeps_it_and_is_left_alone() {
    let Some(machine) = Machine::new("guest").await else { return };
    let key = machine.start(&machine.sh("web", IDLE)).await;
    let guest = format!("{}-guest", machine.prefix);
    podman(&["run", "-d", "--stop-timeout", "0", "--name", &guest, "--network", &machine.prefix, IMAGE, "/bin/sleep", "1000"])
        .await
        .unwrap();
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
    machine.remove(&key).await;
    assert_eq!(podman(&["inspect", "--format", "{{.State.Status}}", &guest]).await.unwrap(), "running");
    assert_ne!(podman(&["network", "ls", "-q", "--filter", &machine.filter()]).await.unwrap(), "");
    podman(&["rm", "-f", "-t", "0", &guest]).await.unwrap();
}

#[tokio::test]
async fn many_start_at_once_on_one_network() {
    let Some(machine) = Machine::new("many").await else { return };
    let launches: Vec<_> = (0..8).map(|number| machine.server(&format!("web-{number}"))).collect();
    futures::future::join_all(launches.iter().map(|launch| machine.start(launch))).await;
    assert_eq!(machine.backend.list().await.unwrap().len(), 8);
    for launch in &launches {
        machine.stop(&launch.key, Duration::ZERO).await;
    }
    futures::future::join_all(launches.iter().map(async |launch| {
        machine.exited(&launch.key).await;
        machine.remove(&launch.key).await;
    }))
    .await;
    assert_eq!(podman(&["network", "ls", "-q", "--filter", &machine.filter()]).await.unwrap(), "");
}
