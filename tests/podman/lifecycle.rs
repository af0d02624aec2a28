//! Start, look, stop, remove; restarts; adoption by the next controller.
use std::time::Duration;

use futures::StreamExt;
use mesh_controller::plan::instance::{ExitHow, Observed, PortOwner};

use super::{
    fixture::{IDLE, Machine, answers, eventually},
    host::podman,
};

#[tokio::test]
async fn a_server_is_started_answers_is_stopped_and_leaves_nothing() {
    let Some(machine) = Machine::new("life").await else { return };
    let launch = machine.server("web");
    let mut changes = machine.backend.changes();
    let key = machine.start(&launch).await;
    assert_eq!(changes.next().await.as_ref(), Some(&key));
    let running = eventually("listener", async || Some(machine.running(&key).await).filter(|it| it.port_owner == PortOwner::Ours)).await;
    let address = running.address.unwrap();
    assert_eq!(address.to_string(), format!("127.0.0.1:{}", launch.container.port.unwrap().host));
    assert!(answers(address).await);
    assert!(running.image.as_ref().is_some_and(|image| image.contains("mesh-test@sha256:")), "{:?}", running.image);
    assert_eq!(running.pid.to_string(), machine.inspect("web", "{{.State.Pid}}").await);
    assert_eq!(machine.inspect("web", "{{.HostConfig.RestartPolicy.Name}}").await, "no");
    machine.start(&launch).await;
    assert_eq!(machine.running(&key).await.pid, running.pid, "a start of what runs does nothing");
    assert_eq!(machine.backend.list().await.unwrap(), std::slice::from_ref(&key));

    machine.stop(&key, Duration::from_secs(5)).await;
    let exit = machine.exited(&key).await;
    assert_eq!((exit.attempt, exit.how), (0, ExitHow::Code(0)));
    assert!(exit.at >= exit.since && exit.since >= running.since);
    machine.start(&launch).await;
    assert!(matches!(machine.backend.observe(&key).await.unwrap(), Observed::Exited(_)), "an attempt is made once");

    machine.remove(&key).await;
    assert_eq!(machine.backend.observe(&key).await.unwrap(), Observed::Absent);
    machine.remove(&key).await;
    assert_eq!(podman(&["ps", "-aq", "--filter", &machine.filter()]).await.unwrap(), "");
    assert_eq!(podman(&["network", "ls", "-q", "--filter", &machine.filter()]).await.unwrap(), "", "the network went with the last of it");
}

#[tokio::test]
async fn what_runs_cannot_be_removed() {
    let Some(machine) = Machine::new("keep").await else { return };
    let key = machine.start(&machine.sh("web", IDLE)).await;
    let error = machine.backend.execute(mesh_controller::plan::instance::Action::Remove(key.clone())).await.unwrap_err();
    assert!(error.to_string().contains("still runs"), "{error}");
    machine.running(&key).await;
}

#[tokio::test]
async fn a_restart_keeps_the_run_before_and_only_that() {
    let Some(machine) = Machine::new("again").await else { return };
    let mut launch = machine.sh("job", "echo run; exit 3");
    for attempt in 0..3 {
        launch.attempt = attempt;
        let key = machine.start(&launch).await;
        let exit = machine.exited(&key).await;
        assert_eq!((exit.attempt, exit.how), (attempt, ExitHow::Code(3)));
    }
    let names = podman(&["ps", "-a", "--format", "{{.Names}}", "--filter", &machine.filter()]).await.unwrap();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    assert_eq!(names, [format!("{}-job", machine.prefix), format!("{}-job-previous", machine.prefix)]);
    assert_eq!(machine.log(&launch.key).await, "run\nrun\n");
}

#[tokio::test]
async fn a_server_comes_back_on_the_same_port() {
    let Some(machine) = Machine::new("port").await else { return };
    let mut launch = machine.server("web");
    let key = machine.start(&launch).await;
    for attempt in 1..3 {
        let running = eventually("answer", async || {
            let running = machine.running(&key).await;
            answers(running.address.unwrap()).await.then_some(running)
        })
        .await;
        assert_eq!(running.attempt, attempt - 1);
        super::host::signal(i32::try_from(running.pid).unwrap(), rustix::process::Signal::KILL);
        machine.exited(&key).await;
        launch.attempt = attempt;
        machine.start(&launch).await;
    }
}

#[tokio::test]
async fn the_next_controller_adopts_what_runs() {
    let Some(machine) = Machine::new("adopt").await else { return };
    let launch = machine.server("web");
    let key = machine.start(&launch).await;
    let before = machine.running(&key).await;
    let next = machine.another().await;
    let Observed::Running(after) = next.observe(&key).await.unwrap() else { panic!("it runs") };
    assert_eq!((after.pid, after.since, after.attempt, after.address), (before.pid, before.since, before.attempt, before.address));
    assert_eq!(next.list().await.unwrap(), std::slice::from_ref(&key));
    next.execute(mesh_controller::plan::instance::Action::Start(Box::new(mesh_controller::plan::instance::Launch::Container(launch))))
        .await
        .unwrap();
    assert_eq!(podman(&["ps", "-aq", "--filter", &machine.filter()]).await.unwrap().lines().count(), 1, "no second one");
}

#[tokio::test]
async fn a_start_that_was_cut_off_is_taken_up_again() {
    let Some(machine) = Machine::new("cut").await else { return };
    let launch = machine.sh("web", IDLE);
    let key = machine.start(&launch).await;
    let name = launch.container.name.clone();
    let id = machine.inspect("web", "{{.Id}}").await;
    let labels = machine.inspect("web", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}").await;
    podman(&["rm", "-f", "-t", "0", &id]).await.unwrap();
    let mut args = vec!["create", "--name", &name];
    args.extend(labels.split_whitespace().flat_map(|label| ["--label", label]));
    args.extend([super::host::IMAGE, "/bin/true"]);
    podman(&args).await.unwrap();
    assert_eq!(machine.backend.observe(&key).await.unwrap(), Observed::Absent, "what was made and never started is no run");
    machine.start(&launch).await;
    assert_eq!(machine.running(&key).await.attempt, 0);
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_its_grace_and_a_second_stop_shortens_it() {
    let Some(machine) = Machine::new("deaf").await else { return };
    let key = machine.start(&machine.sh("web", "trap '' TERM; while :; do sleep 1; done")).await;
    machine.stop(&key, Duration::from_secs(60)).await;
    assert!(machine.running(&key).await.stopping);
    machine.stop(&key, Duration::from_secs(90)).await;
    machine.stop(&key, Duration::ZERO).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));

    let key = machine.start(&machine.sh("other", "trap '' TERM; while :; do sleep 1; done")).await;
    machine.stop(&key, Duration::from_secs(1)).await;
    assert_eq!(machine.exited(&key).await.how, ExitHow::Signal(9));
}
