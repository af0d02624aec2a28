//! Holders that are stopped, killed or told nothing, under a controller that is killed, while the clock of the machine is set to and fro: whatever they believe, a store that checks the fence takes no stale write.
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use mesh_gear::{
    controller::{Controller, kill, until},
    machine::there,
};
use tempfile::NamedTempFile;

use crate::rig::Rig;

/// So many rounds in a run of the tests; `MESH_TEST_ROUNDS` says another number.
const ROUNDS: usize = 10;

/// Holds a lock and writes with its fence as long as it believes to hold it, as fast as the store answers. After a loss it writes once more, as one does
/// that was stopped between its look and its write.
const WRITER: &str = r#"
import sys, time
from mesh_controller import LockError, LockLost, Mesh, MeshError

def write(fence):
    sys.stdout.write(f"{fence}\n")
    sys.stdout.flush()
    sys.stdin.readline()

mesh = Mesh()
while True:
    fence = None
    try:
        with mesh.locks.hold("store", ttl=1, wait=600) as lock:
            fence = lock.fence
            while not lock.lost.is_set():
                write(fence)
    except (LockError, MeshError) as error:
        if isinstance(error, LockLost) and fence is not None:
            write(fence)
        time.sleep(0.02)
"#;

/// What the writers write to: it remembers the highest fence.
#[derive(Default)]
struct Store {
    highest: u64,
    /// Who wrote last, and how often that changed.
    writer: usize,
    changes: usize,
    refused: usize,
    accepted: usize,
    /// Two writers with one fence.
    shared: bool,
}

/// The time of day as the controller sees it, which a test sets. (The writers have their own: Python's waits go wrong under libfaketime.)
struct Clock {
    file: NamedTempFile,
    library: Option<&'static str>,
}

impl Clock {
    fn new() -> Self {
        let places = ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
        let library = places.into_iter().find(|place| Path::new(place).exists());
        there(library.is_some(), "faketime");
        let clock = Self { file: NamedTempFile::new().unwrap(), library };
        clock.set(0);
        clock
    }

    fn set(&self, seconds: i32) {
        fs::write(self.file.path(), format!("{seconds:+}")).unwrap();
    }

    /// What a program has in its environment that goes by it.
    fn environment(&self) -> Vec<(String, String)> {
        let file = self.file.path().to_str().unwrap();
        let vars =
            [("FAKETIME_TIMESTAMP_FILE", file), ("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")];
        let preloaded = self.library.map(|library| ("LD_PRELOAD", library));
        preloaded.into_iter().chain(vars).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

struct Writer {
    child: Child,
    pid: i64,
}

fn writer(rig: &Rig, number: usize, store: &Arc<Mutex<Store>>) -> Writer {
    let worker = &rig.workers()[number];
    let mut child = Command::new("python3")
        .args(["-c", WRITER])
        .env("PYTHONPATH", mesh_gear::program::file("sdk/python/src"))
        .env("MESH_AGENT", format!("unix://{}", rig.socket()))
        .env("MESH_TOKEN_FILE", &worker.token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut answers, asked) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let store = Arc::clone(store);
    std::thread::spawn(move || {
        for line in asked.lines().map_while(Result::ok) {
            let Ok(fence) = line.parse::<u64>() else { continue };
            let mut store = store.lock().unwrap();
            if fence < store.highest {
                store.refused += 1;
            } else {
                store.accepted += 1;
                store.shared |= fence == store.highest && store.writer != number;
                store.changes += usize::from(store.writer != number);
                (store.highest, store.writer) = (fence, number);
            }
            drop(store);
            if answers.write_all(b"ok\n").is_err() {
                break;
            }
        }
    });
    let pid = i64::from(child.id());
    Writer { child, pid }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_stopped_killed_or_cut_off_a_lower_fence_never_comes_after_a_higher_one() {
    let rounds = std::env::var("MESH_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let clock = Clock::new();
    let mut rig = Rig::on(Controller::start_in_environment(&clock.environment()).await, 3).await;
    let store: Arc<Mutex<Store>> = Arc::default();
    let mut writers: Vec<Writer> = (0..3).map(|number| writer(&rig, number, &store)).collect();
    for round in 0..rounds {
        let (holder, changes) = {
            let store = store.lock().unwrap();
            (store.writer, store.changes)
        };
        // An hour ahead, back again, an hour behind, back again: also in the middle of what else happens.
        clock.set([0, 3600, 0, -3600][round % 4]);
        match round % 5 {
            // Stopped for longer than its ttl, in the middle of whatever it does.
            0 | 1 => kill(writers[holder].pid, "-STOP"),
            2 => {
                writers[holder].child.kill().unwrap();
                writers[holder].child.wait().unwrap();
            }
            // Stopped, and the controller dies too.
            3 => {
                kill(writers[holder].pid, "-STOP");
                rig.controller.kill_9_and_start_again().await;
            }
            _ => rig.controller.kill_9_and_start_again().await,
        }
        let others_write = || {
            let store = store.lock().unwrap();
            store.changes > changes || (round % 5 == 4 && store.accepted > 0)
        };
        until(&format!("another writer in round {round}"), async || others_write().then_some(())).await;
        if round % 5 == 2 {
            writers[holder] = writer(&rig, holder, &store);
        } else if round % 5 < 4 {
            kill(writers[holder].pid, "-CONT");
        }
    }
    for writer in &mut writers {
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
    }
    let store = store.lock().unwrap();
    eprintln!(
        "{rounds} rounds: {} writes taken, {} late ones refused, {} changes of the writer",
        store.accepted, store.refused, store.changes
    );
    assert!(!store.shared, "two writers had the same fence");
    assert!(store.refused > 0, "nobody came late, so this shows nothing");
    assert!(store.accepted > rounds && store.changes >= rounds * 4 / 5, "{} {}", store.accepted, store.changes);
}
