//! The real binary on a real disk that is full, fails, or holds something else than was written.
use std::{fs, io::Write, path::Path};

use serde_json::json;

use mesh_gear::{
    controller::{Controller, lives, until},
    disk::Disk,
    load,
};

const BIG: usize = 40_000;

/// Writes objects until one is refused: their names, and why.
async fn write_until_refused(controller: &Controller, name: &str) -> (Vec<String>, String) {
    let mut answered = Vec::new();
    let why = until("a write to be refused", async || {
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
        let (answered, why) = write_until_refused(&controller, &format!("full-{round}")).await;
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
    let (answered, why) = write_until_refused(&controller, "read-only").await;
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
    until("the disk to be left", async || (!busy(&disk.path())).then_some(())).await;
    disk.mount_anew();
    controller.start_again().await;
    assert_there(&controller, &all);
    controller.settled("api", 1).await;
    write_again(&controller, "after").await;
}

/// Whether a process has something open there.
fn busy(dir: &Path) -> bool {
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_dir(entry.path().join("fd")).ok());
    all.flat_map(Iterator::flatten).any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.starts_with(dir)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_damaged_while_it_runs_ends_the_process_with_the_remedy() {
    let Some(disk) = Disk::in_memory("16m") else { return };
    let mut controller = Controller::start_in(&disk.state()).await;
    controller.apply("api", &json!({ "route": "/api", "healthPath": "/api/health" })).await;
    let pids = controller.pids();
    disk.fill();
    write_until_refused(&controller, "full").await;
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
    controller.apply("api", &json!({ "route": "/api", "healthPath": "/api/health" })).await;
    until("what ran before to be replaced", async || (!pids.iter().any(|pid| lives(*pid))).then_some(())).await;
}
