//! Measurements, printed: `cargo test --test it process_backend::bench -- --ignored --nocapture`.
use std::time::{Duration, Instant};

use super::fixture::{Machine, program};

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
    Instant::now()
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], *times.last().unwrap())
}

fn smaps(pid: i64, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    text.lines().filter(|line| line.starts_with(field)).filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn a_hundred_shims() {
    let machine = Machine::new();
    let (mut plain, mut starts, mut keys, mut children) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..100 {
        let begin = now();
        children.push(tokio::process::Command::new("/bin/sleep").arg("1000").kill_on_drop(true).spawn().unwrap());
        plain.push(begin.elapsed());
    }
    for number in 0..100 {
        let begin = now();
        keys.push(machine.start(program(&format!("bench-{number}"), &["/bin/sleep", "1000"])).await.unwrap());
        starts.push(begin.elapsed());
    }
    let (mut pss, mut private, mut rss) = (0, 0, 0);
    for key in &keys {
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(machine.dir(key).join("record.json")).unwrap()).unwrap();
        let shim = record["shim"]["pid"].as_i64().unwrap();
        pss += smaps(shim, "Pss:");
        private += smaps(shim, "Private_");
        rss += smaps(shim, "Rss:");
    }
    let mut looks = Vec::new();
    for key in &keys {
        let begin = now();
        machine.running(key).await;
        looks.push(begin.elapsed());
    }
    println!("plain spawn: median, max {:?}", median(plain));
    println!("start under a shim: median, max {:?}", median(starts));
    println!("observe: median, max {:?}", median(looks));
    println!("per shim, KiB: PSS {} private {} RSS {}", pss / 100, private / 100, rss / 100);
    let begin = now();
    futures::future::join_all(keys.iter().map(async |key| {
        machine.stop(key, Duration::from_secs(10)).await;
        machine.exited(key).await;
    }))
    .await;
    println!("stop of 100 at once: {:?}", begin.elapsed());
    let begin = now();
    let again = (0..100).map(|number| machine.start(program(&format!("again-{number}"), &["/bin/sleep", "1000"])));
    let keys: Vec<_> = futures::future::join_all(again).await.into_iter().map(Result::unwrap).collect();
    println!("start of 100 at once: {:?}", begin.elapsed());
    for key in &keys {
        machine.stop(key, Duration::ZERO).await;
        machine.exited(key).await;
    }
}
