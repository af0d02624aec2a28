//! An instance's output: kept within limits, read back, followed.
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use mesh_backend::LogQuery;
use mesh_plan::instance::LogLimits;

use super::fixture::{Machine, eventually, program, sh};

async fn text(machine: &Machine, key: &mesh_plan::instance::InstanceKey, query: LogQuery) -> String {
    let pieces: Vec<_> = machine.backend.logs(key, query).try_collect().await.unwrap();
    String::from_utf8_lossy(&pieces.concat()).into_owned()
}

#[tokio::test]
async fn what_was_written_is_read_back_from_the_end_or_from_a_time() {
    let machine = Machine::new();
    let key = machine.start(sh("talker", "echo one; echo two; printf 'three'")).await.unwrap();
    machine.exited(&key).await;
    assert_eq!(text(&machine, &key, LogQuery::default()).await, "one\ntwo\nthree\n");
    assert_eq!(text(&machine, &key, LogQuery { tail_lines: Some(2), ..LogQuery::default() }).await, "two\nthree\n");
    assert_eq!(text(&machine, &key, LogQuery { tail_lines: Some(0), ..LogQuery::default() }).await, "");
    assert_eq!(text(&machine, &key, LogQuery { tail_lines: Some(99), ..LogQuery::default() }).await, "one\ntwo\nthree\n");
    let stamped = text(&machine, &key, LogQuery { timestamps: true, tail_lines: Some(1), ..LogQuery::default() }).await;
    let (at, line) = stamped.split_once(' ').unwrap();
    assert_eq!(line, "three\n");
    let after = at.parse::<jiff::Timestamp>().unwrap() + Duration::from_nanos(1);
    assert_eq!(text(&machine, &key, LogQuery { since: Some(after), ..LogQuery::default() }).await, "");
    let again = program("talker", &["echo", "second attempt"]);
    machine.start(mesh_plan::instance::ProcessLaunch { attempt: 1, ..again }).await.unwrap();
    eventually("second attempt's end", async || (machine.exited(&key).await.attempt == 1).then_some(())).await;
    assert_eq!(text(&machine, &key, LogQuery::default()).await, "one\ntwo\nthree\nsecond attempt\n");
}

#[tokio::test]
async fn a_flood_stays_within_the_limits_and_the_last_lines_are_kept() {
    let machine = Machine::new();
    let mut launch = program("flood", &["python3", "-c", "for n in range(100000): print(f'line {n:06} ' + 'x' * 80)"]);
    launch.log = LogLimits { max_bytes: 100_000, max_files: 3 };
    let key = machine.start(launch).await.unwrap();
    machine.exited(&key).await;
    let sizes: Vec<u64> = ["log", "log.1", "log.2"].iter().map(|name| machine.dir(&key).join(name).metadata().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= 100_000) && !machine.dir(&key).join("log.3").exists(), "{sizes:?}");
    let all = text(&machine, &key, LogQuery::default()).await;
    assert!(all.ends_with(&format!("line 099999 {}\n", "x".repeat(80))));
    let numbers: Vec<u32> = all.lines().map(|line| line[5..11].parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.len() > 1500, "{}", numbers.len());
    let tail = text(&machine, &key, LogQuery { tail_lines: Some(1200), ..LogQuery::default() }).await;
    assert_eq!(tail.lines().count(), 1200);
    assert!(all.ends_with(&tail));
}

#[tokio::test]
async fn a_binary_flood_without_newlines_does_not_hold_the_program_up() {
    let machine = Machine::new();
    let mut launch = sh("binary", "head -c 20000000 /dev/urandom >&2");
    launch.log = LogLimits { max_bytes: 200_000, max_files: 2 };
    let key = machine.start(launch).await.unwrap();
    machine.exited(&key).await;
    let sum: u64 = ["log", "log.1"].iter().map(|name| machine.dir(&key).join(name).metadata().unwrap().len()).sum();
    assert!(sum <= 400_000, "{sum}");
}

#[tokio::test]
async fn a_follower_sees_every_line_across_rotations_until_the_instance_is_removed() {
    let machine = Machine::new();
    let mut launch = program(
        "ticker",
        &["python3", "-uc", "import time\nfor n in range(3000):\n print(n, 'x' * 90)\n if n % 100 == 0: time.sleep(0.01)"],
    );
    launch.log = LogLimits { max_bytes: 60_000, max_files: 5 };
    let key = machine.start(launch).await.unwrap();
    let stream = machine.backend.logs(&key, LogQuery { follow: true, ..LogQuery::default() });
    let reading = async { stream.map(Result::unwrap).collect::<Vec<_>>().await.concat() };
    let removing = async {
        machine.exited(&key).await;
        machine.backend.execute(mesh_plan::instance::Action::Remove(key.clone())).await.unwrap();
    };
    let (read, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), reading), removing);
    let read = String::from_utf8(read.unwrap()).unwrap();
    let numbers: Vec<u32> = read.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "a gap");
    assert!(*numbers.last().unwrap() > 2000, "{:?}", numbers.last());
}
