//! Nothing is left after many lives.
use std::time::Duration;

use mesh_controller::plan::instance::Action;

use super::fixture::{Machine, eventually, sh, words};

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Children of this process that ended and were not waited for.
fn zombie_shims() -> Vec<String> {
    let stats = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let parent = format!(") Z {} ", std::process::id());
    stats.filter(|stat| stat.contains("(mesh-controller") && stat.contains(&parent)).collect()
}

#[tokio::test]
async fn daemons_that_a_program_forgets_are_reaped_while_it_runs() {
    let machine = Machine::new();
    let out = machine.state.path().join("done");
    let script = format!("for i in 1 2 3 4 5 6 7 8 9 10; do (setsid true &); done; echo ok > {}; sleep 1000", out.display());
    let key = machine.start(sh("forgetful", &script)).await.unwrap();
    words(&out, 1).await;
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(machine.dir(&key).join("record.json")).unwrap()).unwrap();
    let shim = record["shim"]["pid"].as_i64().unwrap();
    let below = || std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    let only_the_program = format!("{} ", record["child"]["pid"]);
    eventually("reaped daemons", async || (below() == only_the_program).then_some(())).await;
    machine.stop(&key, Duration::ZERO).await;
    machine.exited(&key).await;
}

#[tokio::test]
async fn a_hundred_starts_and_stops_leave_no_zombie_no_file_and_no_directory() {
    let machine = Machine::new();
    let cycle = async |round: usize| {
        let lives: Vec<_> =
            (0..10).map(|number| sh(&format!("cycle-{round}-{number}"), "sleep 1000 & (setsid sleep 1000 &) ; wait")).collect();
        futures::future::join_all(lives.into_iter().map(async |launch| {
            let key = machine.start(launch).await.unwrap();
            machine.stop(&key, Duration::from_secs(60)).await;
            machine.exited(&key).await;
            machine.backend.execute(Action::Remove(key)).await.unwrap();
        }))
        .await;
    };
    cycle(0).await;
    let before = open_files();
    for round in 1..11 {
        cycle(round).await;
    }
    assert_eq!(std::fs::read_dir(machine.state.path().join("instances")).unwrap().count(), 0);
    // Other tests of this program open files too, so the count is waited for.
    eventually("closed files", async || (open_files() <= before + 20).then_some(())).await;
    eventually("reaped shims", async || zombie_shims().is_empty().then_some(())).await;
}
