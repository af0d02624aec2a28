//! What cannot be started: each names the thing and the remedy, leaves nothing behind, and keeps its hands off what is not ours.
use std::net::TcpListener;

use mesh_controller::{
    api::container::{HostPathType, ImagePullPolicy},
    backend::{Error, engine::Engine},
    kit::redact::Redacted,
    plan::{
        container::{Mount, Source},
        environment::Var,
        instance::Observed,
    },
};

use super::{
    fixture::{IDLE, Machine},
    host::{IMAGE, OTHER_IMAGE, Small, host, podman},
};

#[tokio::test]
async fn a_taken_port_is_named_and_the_container_is_taken_away_again() {
    let Some(machine) = Machine::new("taken").await else { return };
    let launch = machine.server("web");
    let port = launch.container.port.unwrap().host;
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert!(!machine.backend.port_is_free(port).unwrap());
    let error = machine.refused(&launch).await;
    assert!(matches!(error, Error::PortTaken { port: named } if named == port), "{error}");
    assert_eq!(machine.backend.observe(&launch.key).await.unwrap(), Observed::Absent);
    assert_eq!(podman(&["ps", "-aq", "--filter", &machine.filter()]).await.unwrap(), "");
    drop(taken);
    machine.start(&launch).await;
}

#[tokio::test]
async fn a_command_that_is_not_in_the_image_or_cannot_be_executed_is_named() {
    let Some(machine) = Machine::new("command").await else { return };
    let mut launch = machine.sh("web", "");
    launch.container.command = vec!["no-such-program".into()];
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::CommandNotFound { program, .. } if program.contains("no-such-program")), "{error}");
    launch.container.command = vec!["/bin/not-executable".into()];
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::CommandNotExecutable { program, .. } if program.ends_with("not-executable")), "{error}");
    assert_eq!(podman(&["ps", "-aq", "--filter", &machine.filter()]).await.unwrap(), "");
}

#[tokio::test]
async fn a_container_of_that_name_that_is_not_ours_is_left_alone() {
    let Some(machine) = Machine::new("name").await else { return };
    let launch = machine.sh("web", IDLE);
    let name = &launch.container.name;
    let foreign = podman(&["create", "--name", name, IMAGE, "/bin/true"]).await.unwrap();
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::NameTaken { what: "container", .. }), "{error}");
    assert!(error.to_string().contains(&format!("rm -f {name}")) && error.to_string().contains("containerPrefix"), "{error}");
    assert_eq!(machine.inspect("web", "{{.Id}}").await, foreign);
    machine.remove(&launch.key).await;
    assert_eq!(machine.inspect("web", "{{.Id}}").await, foreign);
    podman(&["rm", "-f", name]).await.unwrap();
}

#[tokio::test]
async fn a_network_or_volume_of_that_name_that_is_not_ours_is_left_alone() {
    let Some(machine) = Machine::new("net").await else { return };
    podman(&["network", "create", &machine.prefix]).await.unwrap();
    let mut launch = machine.sh("web", IDLE);
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::NameTaken { what: "network", .. }) && error.to_string().contains("spec.podman.network"), "{error}");
    podman(&["network", "rm", &machine.prefix]).await.unwrap();
    let volume = format!("{}-data", machine.prefix);
    podman(&["volume", "create", &volume]).await.unwrap();
    let source = Source::Volume { volume: volume.clone(), owned: true };
    launch.container.mounts = vec![Mount { name: "data".into(), target: "/data".into(), read_only: false, source }];
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::NameTaken { what: "volume", .. }) && error.to_string().contains(&volume), "{error}");
    machine.remove(&launch.key).await;
    podman(&["volume", "rm", &volume]).await.expect("it is still there");
}

#[tokio::test]
async fn an_image_that_is_missing_or_for_another_machine_is_named() {
    let Some(machine) = Machine::new("image").await else { return };
    let mut launch = machine.sh("web", IDLE);
    launch.container.image = "localhost/nowhere:1".into();
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::ImageNeverPull { .. }) && error.to_string().contains("localhost/nowhere:1"), "{error}");
    launch.container.image = OTHER_IMAGE.into();
    launch.container.pull = ImagePullPolicy::IfNotPresent;
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::ImageArchitecture { found, .. } if found == "s390x"), "{error}");
}

#[tokio::test]
async fn a_host_path_that_is_not_there_is_named_and_not_made() {
    let Some(machine) = Machine::new("path").await else { return };
    let path = machine.state.path().join("missing").display().to_string();
    let mut launch = machine.sh("web", IDLE);
    let mount =
        |kind| Mount { name: "data".into(), target: "/data".into(), read_only: false, source: Source::Host { path: path.clone(), kind } };
    launch.container.mounts = vec![mount(None)];
    let error = machine.refused(&launch).await;
    assert!(matches!(&error, Error::HostPath { .. }) && error.to_string().contains(&format!("mkdir -p {path}")), "{error}");
    assert!(!std::path::Path::new(&path).exists());
    launch.container.mounts = vec![mount(Some(HostPathType::DirectoryOrCreate))];
    machine.start(&launch).await;
    assert!(std::path::Path::new(&path).is_dir());
}

#[tokio::test]
async fn a_full_disk_is_said_with_the_remedy_and_heals() {
    let Some(_) = host().filter(|host| !host.external) else { return };
    let small = tokio::task::spawn_blocking(Small::full).await.unwrap();
    let machine = Machine::on(Engine::open(&small.socket).await.unwrap(), "full", tempfile::tempdir().unwrap()).await;
    let launch = machine.sh("web", IDLE);
    let error = machine.refused(&launch).await.to_string();
    assert!(error.contains("no space left on device") && error.contains("podman system prune"), "{error}");
    small.make_room();
    machine.start(&launch).await;
    machine.stop(&launch.key, std::time::Duration::ZERO).await;
    machine.exited(&launch.key).await;
    machine.remove(&launch.key).await;
    drop(machine);
    tokio::task::spawn_blocking(move || drop(small)).await.unwrap();
}

#[tokio::test]
async fn a_secret_variable_is_refused_where_inspect_would_show_it() {
    let Some(machine) = Machine::new("oldsecret").await else { return };
    if machine.backend.engine().masks_secret_env() {
        return;
    }
    let mut launch = machine.sh("web", IDLE);
    launch.container.env = vec![Var { name: "TOKEN".into(), value: Redacted::new("canary-1234"), secret: true }];
    let error = machine.refused(&launch).await.to_string();
    assert!(error.contains("TOKEN") && error.contains("mount the Secret as a volume") && error.contains("5.3"), "{error}");
    assert!(!error.contains("canary"));
}
