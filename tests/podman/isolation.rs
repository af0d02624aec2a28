//! Several on one engine: nobody touches what is another's.
use std::time::Duration;

use mesh_controller::{
    backend::Error,
    plan::{
        container::{Mount, Source},
        instance::{Action, ContainerLaunch, Launch, Observed},
    },
};

use tokio::sync::Mutex;

use super::{
    fixture::{IDLE, Machine, eventually},
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
    // Whose it is can be read there.
    assert!(error.to_string().contains(&second.state.path().display().to_string()), "{error}");
}

/// A program that keeps a line in a volume, and says what was in it before.
fn keeper(machine: &Machine, name: &str, prefix: &str) -> ContainerLaunch {
    let mut launch = machine.sh(name, &format!("cat /data/kept; echo {name} >> /data/kept; {IDLE}"));
    launch.container.name = format!("{prefix}-keeper");
    prefix.clone_into(&mut launch.container.network);
    launch.container.security.user = Some(0);
    let source = Source::Volume { volume: format!("{prefix}-data"), owned: false };
    launch.container.mounts = vec![Mount { name: "data".into(), target: "/data".into(), read_only: false, source }];
    launch
}

/// While one of these tests looks at what nobody owns, no other makes something of that kind.
static UNOWNED: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn the_doctor_names_what_nobody_owns_and_removes_it_and_data_only_when_asked_to() {
    let _alone = UNOWNED.lock().await;
    let Some(gone) = Machine::new("left").await else { return };
    let Some(lives) = Machine::new("lives").await else { return };
    gone.start(&keeper(&gone, "first", &gone.prefix)).await;
    let living = lives.start(&lives.sh("web", IDLE)).await;
    let home = tempfile::tempdir().unwrap();
    let doctor = |flags: &[&str]| {
        let mut doctor = std::process::Command::new(env!("CARGO_BIN_EXE_mesh"));
        doctor.current_dir(&home).args([
            "--state-dir",
            ".mesh",
            "doctor",
            "--engine-socket",
            gone.backend.engine().socket().to_str().unwrap(),
        ]);
        let end = doctor.args(flags).output().unwrap();
        (end.status.code(), String::from_utf8(end.stdout).unwrap())
    };
    let name = &gone.prefix;
    assert!(!doctor(&[]).1.contains(&format!("container {name}-keeper")), "its maker lives");
    std::fs::remove_dir_all(gone.state.path()).unwrap();
    let told = doctor(&[]).1;
    let all = format!("container {name}-keeper, network {name}, volume {name}-data");
    assert!(told.contains("left behind") && told.contains(&all) && told.contains("fix: mesh doctor --remove-unowned"), "{told}");
    let kept = format!(
        "container {name}-keeper removed\nnetwork {name} removed\nvolume {name}-data kept (--volumes removes it with all that is in it)\n"
    );
    assert_eq!(doctor(&["--remove-unowned"]), (Some(0), kept));
    assert_eq!(doctor(&["--remove-unowned", "--volumes"]), (Some(0), format!("volume {name}-data removed\n")));
    assert_eq!(doctor(&["--remove-unowned"]), (Some(0), "nothing is left of controllers that are gone\n".to_owned()));
    lives.running(&living).await;
}

#[tokio::test]
async fn what_a_removed_state_directory_left_is_taken_up_by_the_next_one_at_its_place_with_its_data() {
    let _alone = UNOWNED.lock().await;
    let Some(machine) = Machine::new("again").await else { return };
    let first = keeper(&machine, "first", &machine.prefix);
    machine.start(&first).await;
    eventually("its line", async || machine.log(&first.key).await.contains("up").then_some(())).await;
    assert_eq!(machine.backend.adopted(&first.key), None);
    std::fs::remove_dir_all(machine.state.path()).unwrap();
    std::fs::create_dir(machine.state.path()).unwrap();
    let next = machine.another().await;
    assert_eq!(next.controller(), machine.backend.controller());
    assert_eq!(next.list().await.unwrap(), std::slice::from_ref(&first.key), "it can be ended, though its object is gone");
    next.execute(Action::Stop { key: first.key.clone(), grace: Duration::ZERO }).await.unwrap();
    eventually("its end", async || matches!(next.observe(&first.key).await.unwrap(), Observed::Exited(_)).then_some(())).await;
    next.execute(Action::Remove(first.key)).await.unwrap();
    let second = keeper(&machine, "second", &machine.prefix);
    next.execute(Action::Start(Box::new(Launch::Container(second.clone())))).await.unwrap();
    eventually("what the first kept", async || machine.log(&second.key).await.contains("first").then_some(())).await;
    let adopted = next.adopted(&second.key).unwrap();
    assert!(adopted.contains(&format!("volume {}-data", machine.prefix)), "{adopted}");
    assert_eq!(next.adopted(&second.key), None, "it is told of once");
}

#[tokio::test]
async fn what_a_controller_that_is_gone_left_elsewhere_gives_way_and_its_data_stay() {
    let _alone = UNOWNED.lock().await;
    let Some(gone) = Machine::new("gone").await else { return };
    let Some(heir) = Machine::new("heir").await else { return };
    let (first, second) = (keeper(&gone, "first", &gone.prefix), keeper(&heir, "second", &gone.prefix));
    gone.start(&first).await;
    eventually("its line", async || gone.log(&first.key).await.contains("up").then_some(())).await;
    let error = heir.refused(&second).await;
    assert!(matches!(error, Error::NameTaken { .. }), "{error}");
    std::fs::remove_dir_all(gone.state.path()).unwrap();
    heir.start(&second).await;
    eventually("what the first kept", async || heir.log(&second.key).await.contains("first").then_some(())).await;
    let adopted = heir.backend.adopted(&second.key).unwrap();
    for what in ["volume ", "network ", "container (replaced) "] {
        assert!(adopted.contains(&format!("{what}{}", gone.prefix)), "{adopted}");
    }
    assert_eq!(gone.backend.list().await.unwrap(), []);
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
