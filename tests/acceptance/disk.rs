//! The real binary on a real disk that is full, fails, or holds something else than was written.
use std::{fs, io::Write, process::Command};

use serde_json::json;

use mesh_gear::{
    controller::{Controller, lives, until},
    disk::Disk,
    load,
    program::program,
};

const BIG: usize = 40_000;

/// Writes objects until one is refused, and does something before each: their names, and why.
async fn write_until_refused(controller: &Controller, name: &str, before_each: impl Fn()) -> (Vec<String>, String) {
    let mut answered = Vec::new();
    let why = until("a write to be refused", async || {
        before_each();
        let name = format!("{name}-{}", answered.len());
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "x".repeat(BIG) } });
        let refused = controller.try_kubectl(&["create", "-f", &controller.write("map.json", &object)]).err();
        if refused.is_none() {
            answered.push(name);
        }
        refused
    })
    .await;
    (answered, why)
}

async fn write_again(controller: &Controller, name: &str) {
    until("a write to be carried out", async || controller.try_kubectl(&["create", "configmap", name]).ok()).await;
}

/// A controller with one instance whose disk is full: its processes, and the objects that it took before it refused one.
async fn on_full_disk(disk: &Disk) -> (Controller, Vec<i64>, Vec<String>) {
    let controller = Controller::start_in(&disk.state()).await;
    controller.apply("api", &json!({ "route": "/api", "healthPath": "/api/health" })).await;
    let pids = controller.pids();
    disk.fill();
    let (answered, _) = write_until_refused(&controller, "full", || ()).await;
    (controller, pids, answered)
}

fn assert_there(controller: &Controller, names: &[String]) {
    let there = controller.kubectl(&["get", "configmaps", "-o", "name"]);
    let lost: Vec<_> = names.iter().filter(|name| !there.lines().any(|line| line.ends_with(&format!("/{name}")))).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", names.len());
}

/// Refused, and said everywhere; what runs and what is read goes on.
async fn assert_out(controller: &Controller, why: &str, pids: &[i64]) {
    for words in ["make room on its disk", why] {
        let (status, said) = controller.admin("/readyz").await;
        assert!(status == 503 && said.contains(words), "{status}: {said}");
        let said = controller.kubectl_fails(&["get", "--raw", "/readyz"]);
        assert!(said.contains("[-]store failed") && said.contains(words), "{said}");
    }
    assert_eq!(controller.admin("/livez").await.0, 200);
    assert_eq!(controller.pids(), pids);
    assert!(pids.iter().all(|pid| lives(*pid)));
    assert_eq!(load::get(controller.router, "/api").await.unwrap().0, 200);
}

async fn assert_ready_again(controller: &Controller) {
    until("the controller to be ready again", async || (controller.admin("/readyz").await.0 == 200).then_some(())).await;
    assert_eq!(controller.kubectl(&["get", "--raw", "/readyz"]), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_writes_are_refused_and_the_rest_goes_on_and_with_room_all_is_as_before() {
    let Some(disk) = Disk::in_memory("16m") else { return };
    let mut controller = Controller::start_in(&disk.state()).await;
    controller.apply("api", &json!({ "replicas": 2, "route": "/api", "healthPath": "/api/health" })).await;
    let (process, pids) = (controller.pid(), controller.pids());
    let mut all = Vec::new();
    for round in 0..2 {
        disk.fill();
        let (answered, why) = write_until_refused(&controller, &format!("full-{round}"), || ()).await;
        assert!(why.contains("make room on its disk") && why.contains("No space left on device"), "{why}");
        all.extend(answered);
        assert_out(&controller, "No space left on device", &pids).await;
        assert_there(&controller, &all);
        disk.free();
        let name = format!("room-{round}");
        write_again(&controller, &name).await;
        all.push(name);
        assert_ready_again(&controller).await;
        assert_there(&controller, &all);
    }
    assert_eq!((controller.pid(), controller.pids()), (process, pids.clone()));
    let told = until("the outages to be told", async || {
        let events = controller.kubectl(&["get", "events", "-o", "custom-columns=R:.reason,K:.involvedObject.kind,M:.message"]);
        let told: Vec<String> = events.lines().filter(|line| line.starts_with("StoreOutage")).map(str::to_owned).collect();
        (!told.is_empty()).then_some(told)
    })
    .await;
    let right = |line: &String| line.contains("MeshNode") && line.contains("could not be written for ") && line.contains("No space left");
    assert!(told.iter().all(right), "{told:?}");
    controller.kill_9_and_start_again().await;
    assert_there(&controller, &all);
    assert_eq!(controller.pids(), pids);
    controller.apply("api", &json!({ "replicas": 3, "route": "/api", "healthPath": "/api/health" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_goes_read_only_refuses_writes_until_it_is_mounted_anew_and_nothing_answered_is_lost() {
    let Some(disk) = Disk::ext4("48m") else { return };
    let mut controller = Controller::start_in(&disk.state()).await;
    controller.apply("api", &json!({ "route": "/api", "healthPath": "/api/health" })).await;
    let pids = controller.pids();
    let mut all = vec!["before".to_owned()];
    write_again(&controller, "before").await;
    disk.abort();
    let (answered, why) = write_until_refused(&controller, "read-only", || ()).await;
    assert!(why.contains("make room on its disk, or mend it"), "{why}");
    all.extend(answered);
    until("the system's words", async || controller.admin("/readyz").await.1.contains("Read-only file system").then_some(())).await;
    assert_out(&controller, "Read-only file system", &pids).await;
    assert_there(&controller, &all);
    // The kernel lets nobody write there again before all have left it.
    controller.kill_9();
    for pid in &pids {
        mesh_gear::controller::kill(*pid, "-9");
    }
    until("the disk to be left", async || disk.users().is_empty().then_some(())).await;
    disk.mount_anew();
    controller.start_again().await;
    assert_there(&controller, &all);
    controller.settled("api", 1).await;
    write_again(&controller, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_leave_room_for_the_store_and_what_fills_the_disk_beside_them_ends_no_instance() {
    let Some(disk) = Disk::in_memory("20m") else { return };
    let mut controller = Controller::start_in(&disk.state()).await;
    // 5 × 8 MiB at the most, on much less than that.
    let script = "trap 'exit 0' TERM; while :; do if [ -e \"$0\" ]; then head -c 100000 /dev/zero | tr '\\0' 'x' | fold -w 1000; echo; sleep 0.05; \
                  else echo calm; sleep 0.2; fi; done";
    let loud = disk.path().join("loud");
    let kept = json!({ "maxSize": "4Mi", "maxFiles": 2 });
    let spec = json!({ "replicas": 5, "type": "Worker", "command": ["sh", "-c", script, loud], "drain": null, "logs": kept });
    controller.apply("loud", &spec).await;
    let pids = controller.pids();
    assert_eq!(pids.len(), 5);
    fs::write(&loud, "").unwrap();
    let said_so = || logs(&disk).iter().filter(|log| String::from_utf8_lossy(log).contains("little room left")).count();
    until("the logs to say that they keep less", async || (said_so() > 0).then_some(())).await;
    let mut all: Vec<_> = (0..5).map(|n| format!("beside-logs-{n}")).collect();
    for name in &all {
        controller.kubectl(&["create", "configmap", name]);
    }
    assert_eq!(controller.admin("/readyz").await.0, 200);

    // What the logs give up goes to what fills the disk, and not to the store.
    let (answered, why) = write_until_refused(&controller, "full", || disk.fill()).await;
    assert!(why.contains("No space left on device"), "{why}");
    all.extend(answered);
    assert_eq!(controller.admin("/readyz").await.0, 503);
    assert!(pids.iter().all(|pid| lives(*pid)));
    // They go on as loud as before.
    disk.free();
    write_again(&controller, "room").await;
    all.push("room".to_owned());
    assert_ready_again(&controller).await;
    assert_there(&controller, &all);
    fs::remove_file(&loud).unwrap();
    let calm = || logs(&disk).iter().filter(|log| log.ends_with(b" calm\n")).count();
    until("all logs to be written again", async || (calm() == 5).then_some(())).await;
    controller.settled("loud", 5).await;
    assert_eq!(controller.pids(), pids, "none was ended");
    controller.kill_9_and_start_again().await;
    assert_there(&controller, &all);
    assert_eq!(controller.pids(), pids);
}

/// All files of all logs.
fn logs(disk: &Disk) -> Vec<Vec<u8>> {
    let instances = fs::read_dir(disk.state().join("instances")).unwrap().flatten();
    let files = instances.filter_map(|instance| fs::read_dir(instance.path()).ok()).flat_map(Iterator::flatten);
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log"));
    logs.filter_map(|file| fs::read(file.path()).ok()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_starts_on_a_full_disk_and_says_so_and_with_room_all_is_as_before() {
    let Some(disk) = Disk::in_memory("16m") else { return };
    let (mut controller, pids, answered) = on_full_disk(&disk).await;
    controller.kill_9();
    disk.fill();
    controller.begin_again();
    until("it to be there", async || load::get(controller.admin, "/livez").await.is_ok().then_some(())).await;
    assert_there(&controller, &answered);
    assert_eq!(controller.pids(), pids);
    write_until_refused(&controller, "again", || ()).await;
    let (status, said) = controller.admin("/readyz").await;
    assert!(status == 503 && said.contains("make room on its disk"), "{status}: {said}");
    disk.free();
    assert_ready_again(&controller).await;
    assert_eq!(load::get(controller.router, "/api").await.unwrap().0, 200);
    assert_eq!(controller.pids(), pids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_whose_state_directory_was_removed_ends_and_says_so_and_answers_no_write_that_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut controller = Controller::start_in(&state).await;
    controller.kubectl(&["create", "configmap", "before"]);
    // Its kubeconfig goes with it.
    let kubeconfig = dir.path().join("kubeconfig");
    fs::copy(state.join("kubeconfig"), &kubeconfig).unwrap();
    fs::remove_dir_all(&state).unwrap();
    let written = controller.try_kubectl(&["create", "configmap", "after", "--kubeconfig", &kubeconfig.to_string_lossy()]);
    assert!(written.is_err(), "it would be lost");
    let (code, said) = controller.end().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("store.redb is gone, perhaps with its whole directory"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_damaged_while_it_runs_ends_the_process_with_the_remedy() {
    let Some(disk) = Disk::in_memory("16m") else { return };
    let (mut controller, pids, _) = on_full_disk(&disk).await;
    let file = disk.state().join("store.redb");
    // In place, as a disk is damaged: the process has the file open.
    fs::File::options().write(true).open(&file).unwrap().write_all(&[0x5a; 4096]).unwrap();
    disk.free();
    let (code, said) = controller.end().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("what is on its disk now is not what was stored") && said.contains("store.redb is damaged"), "{said}");
    assert!(pids.iter().all(|pid| lives(*pid)), "instances run on");
    // The remedy that was named.
    fs::rename(&file, disk.path().join("damaged.redb")).unwrap();
    controller.start_again().await;
    assert!(pids.iter().all(|pid| lives(*pid)), "instances run on");
    until("ps to tell of them", async || {
        let ps = Command::new(program("mesh")).args(["ps", "--state-dir", &controller.state_dir()]).output().unwrap();
        String::from_utf8(ps.stderr).unwrap().contains("does not know: default/api-").then_some(())
    })
    .await;
    controller.apply("api", &json!({ "route": "/api", "healthPath": "/api/health" })).await;
    until("what ran before to be replaced", async || (!pids.iter().any(|pid| lives(*pid))).then_some(())).await;
}
