//! What the store promises, on a real directory.
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key::new("things", "ns", name)
}

fn create(name: &str) -> Write {
    Write { key: key(name), change: Change::Create(json!({"metadata": {"name": name, "labels": {"a": "b"}}})), guard: None }
}

fn update(name: &str, expected: u64, data: &str) -> Write {
    let value = json!({"metadata": {"name": name}, "data": data});
    Write { key: key(name), change: Change::Update { expected, value }, guard: None }
}

#[tokio::test]
async fn what_was_answered_is_there_after_reopening_with_revision_and_uuid() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &Options::default()).unwrap();
    let first = store.write(create("a")).await.unwrap().entry;
    store.write(create("b")).await.unwrap();
    store
        .write(Write { key: key("b"), change: Change::Delete { expected: first.revision + 1, last: json!({"metadata": {}}) }, guard: None })
        .await
        .unwrap();
    let (revision, uuid) = (store.revision(), store.uuid().to_owned());
    drop(store);
    let store = Store::open(dir.path(), &Options::default()).unwrap();
    assert_eq!((store.revision(), store.uuid()), (revision, uuid.as_str()));
    let entries = store.list("things", None).entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].json, first.json);
    assert_eq!(entries[0].label("a"), Some("b"));
}

#[tokio::test]
async fn a_second_opener_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path(), &Options::default()).unwrap();
    match Store::open(dir.path(), &Options::default()) {
        Err(Error::LockedBy { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_left_as_it_is() {
    let good = tempfile::tempdir().unwrap();
    let store = Store::open(good.path(), &Options::default()).unwrap();
    for n in 0..300 {
        store.write(create(&format!("o{n}"))).await.unwrap();
    }
    drop(store);
    let good = std::fs::read(good.path().join("store.redb")).unwrap();
    let mut scribbled = good.clone();
    scribbled[4096..].fill(0x5a);
    for damage in [vec![], b"not a store".to_vec(), vec![0; 200_000], good[..good.len() / 2].to_vec(), good[..300].to_vec(), scribbled] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        std::fs::write(&path, &damage).unwrap();
        let error = Store::open(dir.path(), &Options::default()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), damage);
    }
}

#[tokio::test]
async fn a_write_on_an_old_revision_conflicts_and_one_that_changes_nothing_keeps_its_revision() {
    let store = Store::memory().unwrap();
    let first = store.write(create("a")).await.unwrap().entry.revision;
    let second = store.write(update("a", first, "x")).await.unwrap();
    assert!(second.changed && second.entry.revision == first + 1);
    let same = store.write(update("a", first + 1, "x")).await.unwrap();
    assert!(!same.changed && same.entry.revision == first + 1 && store.revision() == first + 1);
    assert!(matches!(store.write(update("a", first, "y")).await, Err(WriteError::Conflict(Some(_)))));
    assert!(matches!(store.write(update("none", first, "y")).await, Err(WriteError::Conflict(None))));
    assert!(matches!(store.write(create("a")).await, Err(WriteError::Exists(_))));
}

#[tokio::test]
async fn a_guard_that_moved_stops_the_write() {
    let store = Store::memory().unwrap();
    let guard = store.write(create("guard")).await.unwrap().entry.revision;
    let guarded = |name: &str, revision| Write { guard: Some((key("guard"), revision)), ..create(name) };
    store.write(guarded("a", guard)).await.unwrap();
    store.write(update("guard", guard, "moved")).await.unwrap();
    assert!(matches!(store.write(guarded("b", guard)).await, Err(WriteError::GuardChanged)));
}

#[tokio::test]
async fn concurrent_writers_lose_no_update_and_a_watcher_sees_each_once_in_order() {
    let store = Store::memory().unwrap();
    let start = store.write(create("a")).await.unwrap().entry.revision;
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        async move {
            for n in 0..25 {
                loop {
                    let current = store.get(&key("a")).unwrap();
                    match store.write(update("a", current.revision, &format!("{writer}-{n}"))).await {
                        Ok(_) => break,
                        Err(WriteError::Conflict(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    });
    let mut watcher = store.watch(start);
    futures::future::join_all(writers).await;
    let mut revisions = Vec::new();
    while revisions.len() < 200 {
        revisions.extend(watcher.next("things").await.unwrap().iter().map(Event::revision));
    }
    assert_eq!(revisions, (start + 1..=start + 200).collect::<Vec<_>>());
    assert_eq!(watcher.cursor(), store.revision());
}

#[tokio::test]
async fn a_list_of_an_older_revision_is_what_was_there_then() {
    let store = Store::memory().unwrap();
    store.write(create("a")).await.unwrap();
    let b = store.write(create("b")).await.unwrap().entry.revision;
    let names = |listing: Listing| listing.entries.iter().map(|entry| entry.key.name.to_string()).collect::<Vec<_>>();
    store.write(create("c")).await.unwrap();
    store.write(Write { key: key("b"), change: Change::Delete { expected: b, last: json!({"metadata": {}}) }, guard: None }).await.unwrap();
    assert_eq!(names(store.list_at("things", Some("ns"), b).unwrap()), ["a", "b"]);
    assert_eq!(names(store.list("things", Some("ns"))), ["a", "c"]);
    assert!(store.list_at("things", None, store.oldest() - 1).is_err());
    assert_eq!(names(store.list("things", Some("other"))), Vec::<String>::new());
}

#[tokio::test]
async fn a_watcher_that_fell_out_of_the_ring_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &Options { ring_events: 3, ..Options::default() }).unwrap();
    let start = store.revision();
    let mut watcher = store.watch(start);
    for n in 0..5 {
        store.write(create(&format!("o{n}"))).await.unwrap();
    }
    assert_eq!(watcher.next("things").await.unwrap_err(), Expired { asked: start, oldest: start + 2 });
}

/// A disk that works until it is told not to.
#[derive(Debug)]
struct Failing(redb::backends::InMemoryBackend, Arc<AtomicBool>);

impl Failing {
    fn check(&self) -> std::io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(std::io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check().and_then(|()| self.0.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check().and_then(|()| self.0.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check().and_then(|()| self.0.write(offset, data))
    }
}

#[tokio::test]
async fn after_a_disk_error_writes_are_refused_with_the_reason_and_reads_go_on() {
    let broken = Arc::new(AtomicBool::new(false));
    let options = Options::default();
    let disk = Disk::on(Failing(redb::backends::InMemoryBackend::new(), Arc::clone(&broken)), options.cache_bytes).unwrap();
    let store = Store::start(disk, None, &options).unwrap();
    store.write(create("a")).await.unwrap();
    let revision = store.revision();
    broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let refused = store.write(create("b")).await.unwrap_err();
        assert!(matches!(&refused, WriteError::Refused(why) if why.contains("takes no more writes")), "{refused}");
    }
    assert_eq!((store.revision(), store.list("things", None).entries.len()), (revision, 1));
    assert!(store.failure().unwrap().contains("error"));
    // It stays so even if the disk seems well again: what it holds is not known.
    broken.store(false, Ordering::SeqCst);
    assert!(matches!(store.write(create("c")).await, Err(WriteError::Refused(_))));
}

/// Not a test by itself: the process that the next one kills. Writes for ever, and says each name after it was answered.
#[tokio::test]
async fn child_that_writes_until_killed() {
    let (Some(dir), Ok(round)) = (std::env::var_os("MESH_TEST_STORE_DIR"), std::env::var("MESH_TEST_STORE_ROUND")) else { return };
    let store = Store::open(Path::new(&dir), &Options::default()).unwrap();
    let writers = (0..4).map(|writer| {
        let (store, round) = (store.clone(), round.clone());
        async move {
            for n in 0_u64.. {
                let name = format!("{round}-{writer}-{n}");
                store.write(create(&name)).await.unwrap();
                eprintln!("acked {name}");
            }
        }
    });
    futures::future::join_all(writers).await;
}

#[tokio::test]
async fn every_answered_write_survives_kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked: Vec<String> = Vec::new();
    let mut revision = 0;
    for round in 0..10 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "store::tests::child_that_writes_until_killed", "--nocapture"]);
        child.env("MESH_TEST_STORE_DIR", dir.path()).env("MESH_TEST_STORE_ROUND", round.to_string());
        let mut child = child.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acked ").map(str::to_owned));
        let enough = acked.len() + 20 + round * 17;
        while acked.len() < enough {
            acked.push(said.next().expect("the child ended by itself"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        acked.extend(said);
        let store = Store::open(dir.path(), &Options::default()).unwrap();
        let lost: Vec<_> = acked.iter().filter(|name| store.get(&key(name)).is_none()).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        assert!(store.revision() > revision, "revisions never go back");
        revision = store.revision();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_that_reconnect_miss_nothing_and_end_with_what_a_list_shows() {
    let store = Store::memory().unwrap();
    let start = store.revision();
    let writers = (0..3).map(|writer| {
        let store = store.clone();
        async move {
            for n in 0..150 {
                let name = format!("{writer}-{}", n % 7);
                let change = match store.get(&key(&name)) {
                    None => create(&name),
                    Some(entry) if n % 3 == 0 => Write {
                        key: key(&name),
                        change: Change::Delete { expected: entry.revision, last: json!({"metadata": {}}) },
                        guard: None,
                    },
                    Some(entry) => update(&name, entry.revision, &n.to_string()),
                };
                store.write(change).await.unwrap();
            }
        }
    });
    let end = start + 450;
    let watchers = (1..6).map(|taste| {
        let store = store.clone();
        async move {
            let mut state = std::collections::BTreeMap::new();
            let mut seen = start;
            while seen < end {
                // A new watcher every few events, from where the last one was.
                let mut watcher = store.watch(seen);
                for event in watcher.next("things").await.unwrap().into_iter().take(taste) {
                    assert_eq!(event.revision(), seen + 1);
                    seen = event.revision();
                    if event.deleted {
                        state.remove(&event.object.key)
                    } else {
                        state.insert(event.object.key.clone(), seen)
                    };
                }
            }
            state
        }
    });
    let (_, states) = tokio::join!(futures::future::join_all(writers), futures::future::join_all(watchers));
    let listed: std::collections::BTreeMap<_, _> =
        store.list("things", None).entries.iter().map(|entry| (entry.key.clone(), entry.revision)).collect();
    assert!(states.iter().all(|state| *state == listed));
}

#[test]
fn the_directory_and_the_file_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("state");
    let store = Store::open(&home, &Options::default()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home), mode(&home.join("store.redb"))), (0o700, 0o600));
    assert_eq!(Arc::strong_count(&store.writer), 1);
}
