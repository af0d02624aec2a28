//! Nothing is left after many lives.
use std::time::Duration;

use mesh_plan::instance::{Action, ExitHow, Launch, ProcessLaunch};
use rustix::process::Signal;

use super::fixture::{Machine, eventually, kill, lives, sh, words};

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

/// Every living process that was started with this word on its command line.
fn with_argument(word: &str) -> Vec<String> {
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()).then(|| entry.file_name().to_string_lossy().into_owned())
    });
    lines.filter(|pid| lives(pid)).collect()
}

#[tokio::test]
async fn whatever_is_killed_at_whatever_moment_one_tree_at_most_lives_and_none_at_the_end() {
    let machine = Machine::new();
    let launch = |attempt| ProcessLaunch { attempt, ..sh("chaos", "sleep 98712 & (setsid sleep 98713 &) ; sleep 98714") };
    let key = launch(0).key;
    let mut ends = (0, 0);
    for attempt in 0..60_u32 {
        let start = machine.start(launch(attempt));
        if attempt % 3 == 0 {
            // As a controller that is killed in the middle of a start.
            let _ = tokio::time::timeout(Duration::from_micros(u64::from(attempt) * 150), start).await;
            let next = machine.another();
            next.execute(Action::Start(Box::new(Launch::Process(launch(attempt))))).await.unwrap();
        } else {
            start.await.unwrap();
        }
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(machine.dir(&key).join("record.json")).unwrap()).unwrap();
        let pid = |whose: &str| i32::try_from(record[whose]["pid"].as_i64().unwrap()).unwrap();
        match attempt % 4 {
            0 => kill(pid("shim"), Signal::KILL),
            1 => kill(pid("child"), Signal::KILL),
            2 => machine.stop(&key, Duration::from_secs(60)).await,
            _ => {
                machine.stop(&key, Duration::from_millis(1)).await;
                kill(pid("shim"), Signal::KILL);
            }
        }
        let exit =
            eventually("the end of this attempt", async || Some(machine.exited(&key).await).filter(|exit| exit.attempt == attempt)).await;
        if exit.how == ExitHow::Unknown {
            ends.0 += 1;
        } else {
            ends.1 += 1;
        }
        let left: Vec<_> = ["98712", "98713", "98714"].into_iter().flat_map(with_argument).collect();
        assert!(left.is_empty(), "attempt {attempt}: {left:?}");
    }
    assert!(ends.0 > 0 && ends.1 > 0, "{ends:?}");
    machine.backend.execute(Action::Remove(key)).await.unwrap();
    assert_eq!(std::fs::read_dir(machine.state.path().join("instances")).unwrap().count(), 0);
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
