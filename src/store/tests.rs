//! What the store promises, on a real directory.
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
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
async fn a_store_that_was_restored_or_made_anew_gives_no_revision_again_and_those_of_the_lost_one_have_expired() {
    let at = |millis: i64| Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap();
    let (dir, options) = (tempfile::tempdir().unwrap(), Options::default());
    let file = dir.path().join("store.redb");
    let store = Store::open_at(dir.path(), &options, at(0)).unwrap();
    let kept = store.write(create("a")).await.unwrap().entry.revision;
    assert_eq!(kept, 1_800_000_000_000);
    drop(store);
    let backup = std::fs::read(&file).unwrap();
    let store = Store::open_at(dir.path(), &options, at(5)).unwrap();
    let lost = store.write(create("b")).await.unwrap().entry.revision;
    drop(store);
    std::fs::write(&file, backup).unwrap();
    let store = Store::open_at(dir.path(), &options, at(9)).unwrap();
    // Also while there is no newer one, and after.
    for name in ["c", "d"] {
        assert!(store.check(lost).is_err() && store.list_at("things", None, lost).is_err());
        assert_eq!(store.watch(lost).next("").await.unwrap_err().asked, lost);
        assert!(store.write(create(name)).await.unwrap().entry.revision > lost);
        let seen: Vec<_> = store.watch(kept).next("").await.unwrap().iter().map(Event::revision).collect();
        assert_eq!((seen[0], seen.last()), (1_800_000_000_009, Some(&store.revision())));
        assert_eq!(store.list_at("things", None, kept).unwrap().entries.len(), 1);
    }
    let before = store.revision();
    drop(store);
    // A clock that was set back.
    let store = Store::open_at(dir.path(), &options, at(2)).unwrap();
    assert_eq!(store.write(create("e")).await.unwrap().entry.revision, before + 1);
    drop(store);
    std::fs::remove_file(&file).unwrap();
    let store = Store::open_at(dir.path(), &options, at(20)).unwrap();
    assert!(store.write(create("a")).await.unwrap().entry.revision > before + 1);
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
    check(good.path()).unwrap();
    drop(store);
    check(good.path()).unwrap();
    check(&good.path().join("nothing")).unwrap();
    let good = std::fs::read(good.path().join("store.redb")).unwrap();
    let mut scribbled = good.clone();
    scribbled[4096..].fill(0x5a);
    for damage in [vec![], b"not a store".to_vec(), vec![0; 200_000], good[..good.len() / 2].to_vec(), good[..300].to_vec(), scribbled] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        std::fs::write(&path, &damage).unwrap();
        assert!(matches!(check(dir.path()), Err(Error::Corrupt { .. })), "looked at only");
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
    let store = Store::memory_with(&Options { ring_events: 3, ..Options::default() }).unwrap();
    let start = store.revision();
    let mut watcher = store.watch(start);
    for n in 0..5 {
        store.write(create(&format!("o{n}"))).await.unwrap();
    }
    assert_eq!(watcher.next("things").await.unwrap_err(), Expired { asked: start, oldest: start + 2 });
}

/// A disk that takes so many more operations (writes, syncs, changes of length), then fails each with an error of the system.
/// What it holds outlives the store, as a file does.
#[derive(Debug, Clone)]
struct Disky(Arc<Faults>);

#[derive(Debug)]
struct Faults {
    bytes: redb::backends::InMemoryBackend,
    left: AtomicU64,
    errno: AtomicI32,
}

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

impl Disky {
    fn new() -> Self {
        Self(Arc::new(Faults { bytes: redb::backends::InMemoryBackend::new(), left: u64::MAX.into(), errno: EIO.into() }))
    }

    fn store(&self) -> Store {
        let (options, disk) = (Options::default(), self.clone());
        Store::start(Disk::on(Path::new("(memory)"), move || Ok(disk.clone()), options.cache_bytes).unwrap(), None, &options, 0).unwrap()
    }

    fn fail_after(&self, operations: u64, errno: i32) {
        self.0.errno.store(errno, Ordering::SeqCst);
        self.0.left.store(operations, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.0.left.store(u64::MAX, Ordering::SeqCst);
    }

    fn check(&self) -> std::io::Result<()> {
        let took = self.0.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        took.map(drop).map_err(|_| std::io::Error::from_raw_os_error(self.0.errno.load(Ordering::SeqCst)))
    }
}

impl redb::StorageBackend for Disky {
    fn len(&self) -> std::io::Result<u64> {
        self.0.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check().and_then(|()| self.0.bytes.set_len(len))
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check().and_then(|()| self.0.bytes.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let checked = self.check();
        // What fails has got half way.
        let part = if checked.is_ok() { data } else { &data[..data.len() / 2] };
        self.0.bytes.write(offset, part).and(checked)
    }
}

/// Writes until a write is carried out.
async fn write_again(store: &Store, name: &str) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        match store.write(create(name)).await {
            // One that was refused may be there all the same.
            Ok(_) | Err(WriteError::Exists(_)) => return,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{name}: {error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn names(store: &Store) -> Vec<(String, u64)> {
    store.list("things", None).entries.iter().map(|entry| (entry.key.name.to_string(), entry.revision)).collect()
}

#[tokio::test]
async fn while_the_disk_fails_writes_are_refused_with_the_remedy_and_reads_go_on_and_then_writes_too() {
    for errno in [ENOSPC, EIO, EROFS] {
        let disk = Disky::new();
        let store = disk.store();
        store.write(create("a")).await.unwrap();
        let before = names(&store);
        disk.fail_after(0, errno);
        for _ in 0..20 {
            let refused = store.write(create("b")).await.unwrap_err();
            let expected = std::io::Error::from_raw_os_error(errno).to_string();
            assert!(matches!(&refused, WriteError::Refused(why) if why.contains("make room") && why.contains(&expected)), "{refused}");
            assert!(store.failure().is_some());
            assert_eq!(names(&store), before);
        }
        disk.mend();
        write_again(&store, "c").await;
        assert_eq!(store.failure(), None);
        let over = store.recovered().borrow().clone().unwrap();
        assert!(
            over.lasted > std::time::Duration::ZERO && over.cause.contains(&std::io::Error::from_raw_os_error(errno).to_string()),
            "{over}"
        );
        let after = names(&store);
        drop(store);
        assert_eq!(names(&disk.store()), after);
    }
}

#[tokio::test]
async fn at_whichever_operation_the_disk_fails_nothing_answered_is_lost_and_a_watcher_sees_all_once() {
    for operations in 0..24 {
        let disk = Disky::new();
        let store = disk.store();
        let mut watcher = store.watch(store.revision());
        store.write(create("a")).await.unwrap();
        disk.fail_after(operations, ENOSPC);
        let mut answered = vec!["a".to_owned()];
        let mut name = 0;
        while store.failure().is_none() {
            name += 1;
            if store.write(create(&format!("o{name:03}"))).await.is_ok() {
                answered.push(format!("o{name:03}"));
            }
        }
        disk.mend();
        write_again(&store, "z").await;
        answered.push("z".to_owned());
        let there = names(&store);
        let lost: Vec<_> = answered.iter().filter(|name| !there.iter().any(|(there, _)| there == *name)).collect();
        assert!(lost.is_empty(), "after {operations} operations: {lost:?}");
        assert!(there.len() <= answered.len() + 1, "after {operations} operations: {there:?}");
        let mut seen = Vec::new();
        while seen.len() < there.len() {
            seen.extend(watcher.next("things").await.unwrap().iter().map(|event| (event.object.key.name.to_string(), event.revision())));
        }
        seen.sort();
        assert_eq!(seen, there);
        drop(store);
        assert_eq!(names(&disk.store()), there);
    }
}

#[tokio::test]
async fn a_store_whose_file_is_gone_or_damaged_after_an_error_is_lost_and_says_so() {
    let disk = Disky::new();
    let store = disk.store();
    let a = store.write(create("a")).await.unwrap();
    disk.fail_after(0, EIO);
    store.write(create("b")).await.unwrap_err();
    let len = redb::StorageBackend::len(&disk).unwrap();
    disk.mend();
    redb::StorageBackend::write(&disk, 0, &vec![0x5a; usize::try_from(len).unwrap()]).unwrap();
    let why = tokio::time::timeout(std::time::Duration::from_secs(30), store.lost()).await.unwrap();
    assert!(why.contains("is damaged"), "{why}");
    assert!(matches!(store.write(create("c")).await, Err(WriteError::Refused(said)) if said == why));
    assert_eq!(store.get(&key("a")).unwrap().revision, a.entry.revision);
}

#[tokio::test]
async fn a_file_is_opened_again_with_what_it_holds_and_one_that_is_gone_or_empty_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut disk = Disk::open(dir.path(), 1 << 20).unwrap();
    disk.commit(&[], 7).unwrap();
    let uuid = disk.load().unwrap().uuid;
    for _ in 0..2 {
        let loaded = disk.reopen().unwrap();
        assert_eq!((loaded.revision, &loaded.uuid), (7, &uuid));
        disk.prove(100_000).unwrap();
    }
    std::fs::rename(&path, dir.path().join("away")).unwrap();
    assert!(matches!(disk.commit(&[], 8), Err(Error::Gone { .. })), "what nobody would find again is not answered");
    assert!(matches!(disk.reopen(), Err(Error::Gone { .. })));
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    assert!(matches!(disk.reopen(), Err(Error::Corrupt { reason, .. }) if reason == "it is empty"));
    std::fs::rename(dir.path().join("away"), &path).unwrap();
    assert_eq!(disk.reopen().unwrap().revision, 8, "it is there again, with what was written and not answered");
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
        child.args(["--exact", "tests::child_that_writes_until_killed", "--nocapture"]);
        child.env("MESH_TEST_STORE_DIR", dir.path()).env("MESH_TEST_STORE_ROUND", round.to_string());
        let mut child = child.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // A line that the kill cut short names nothing.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut said = std::iter::from_fn(|| {
            let mut line = String::new();
            said.read_line(&mut line).ok().filter(|&read| read > 0).map(|_| line)
        })
        .filter_map(|line| Some(line.strip_prefix("acked ")?.strip_suffix('\n')?.to_owned()));
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
