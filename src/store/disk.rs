//! The redb file: three tables, opened with care (a damaged file is reported, never overwritten), written one synced transaction per batch,
//! and opened again after an error: redb does nothing more with a file that it once could not read or write.
use std::{
    cell::Cell,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Once, PoisonError},
};

use bytes::Bytes;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError, backends::InMemoryBackend};

use super::{
    entry::{Entry, Key},
    error::Error,
};

/// Key: resource NUL namespace NUL name. Value: revision (8 bytes, big endian), then the object's JSON.
const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const TEXTS: TableDefinition<&str, &str> = TableDefinition::new("texts");
/// There only while it is tried whether the disk takes something.
const PROOF: TableDefinition<&str, &[u8]> = TableDefinition::new("proof");
/// How much of the file is written anew at once.
const CHUNK: usize = 64 << 10;
const FILE: &str = "store.redb";
/// For a look at a file that is in memory already.
const CHECK_CACHE: usize = 1 << 20;
const EMPTY: &str = "it is empty";
const REVISION: &str = "revision";
const FORMAT: &str = "format";
const UUID: &str = "uuid";
/// The layout above.
const FORMAT_NOW: u64 = 1;

/// All that is in the file.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) revision: u64,
    pub(super) uuid: String,
    pub(super) entries: Vec<Entry>,
}

/// Whether the file in a state directory, if there is one, can be read. Reads it into memory, and writes nothing.
pub(super) fn check(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) if bytes.is_empty() => return Err(corrupt(&path, EMPTY)),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::System { act: "read store file", path, source }),
    };
    let copy = move || {
        let memory = InMemoryBackend::new();
        memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, &bytes)).map(|()| memory)
    };
    let read = Disk::on(&path, copy, CHECK_CACHE).and_then(|disk| disk.load());
    read.map(drop).map_err(|error| match error {
        // Memory does not fail: what cannot be read of it was not in the file.
        Error::System { .. } => corrupt(&path, "it ends too soon"),
        error => error,
    })
}

/// One row to write.
#[derive(Debug)]
pub(super) enum Row {
    Put(Arc<Entry>),
    Remove(Key),
}

type Opener = Box<dyn Fn() -> Result<Database, Error> + Send>;

pub(super) struct Disk {
    /// None: it could not be opened again yet.
    database: Option<Database>,
    path: PathBuf,
    /// The file that was opened; none of a store without one.
    file: Option<Identity>,
    again: Opener,
}

/// Device and inode.
type Identity = (u64, u64);

impl Disk {
    /// Opens `store.redb` in a directory, or makes it.
    pub(super) fn open(dir: &Path, cache_bytes: usize) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let system = |act| {
            let path = path.clone();
            move |source| Error::System { act, path, source }
        };
        if !path.try_exists().map_err(system("look for store file"))? {
            // Made under another name and renamed, so that a kill in the middle leaves nothing that looks like a damaged store.
            let unfinished = dir.join("store.redb.new");
            let _ = std::fs::remove_file(&unfinished);
            prepare(&open_file(&unfinished, cache_bytes)?, &unfinished)?;
            std::fs::rename(&unfinished, &path).map_err(system("name store file"))?;
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(system("sync directory of store file"))?;
        } else if std::fs::metadata(&path).map_err(system("look at store file"))?.len() == 0 {
            // redb would take an empty file for a new one; here it means that somebody's objects are gone.
            return Err(corrupt(&path, EMPTY));
        }
        let database = open_file(&path, cache_bytes)?;
        let file = path.clone();
        let opened = identity(&path)?;
        let disk = Self::new(database, path, Box::new(move || write_anew(&file).and_then(|()| open_file(&file, cache_bytes))))?;
        Ok(Self { file: Some(opened), ..disk })
    }

    /// A store without a file.
    pub(super) fn memory(cache_bytes: usize) -> Result<Self, Error> {
        let only = Mutex::new(Some(InMemoryBackend::new()));
        let once =
            move || only.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        Self::on(Path::new("(memory)"), once, cache_bytes)
    }

    /// A store on anything that keeps bytes, and gives them again when it is asked for again.
    pub(super) fn on<B: StorageBackend>(
        name: &Path,
        backend: impl Fn() -> io::Result<B> + Send + 'static,
        cache_bytes: usize,
    ) -> Result<Self, Error> {
        let (path, name) = (name.to_owned(), name.to_owned());
        let open = move || {
            let backend = backend().map_err(|source| lost_or("open", &name, source))?;
            guarded(&name, "open", || Ok(Builder::new().set_cache_size(cache_bytes).create_with_backend(backend)?))
        };
        Self::new(open()?, path, Box::new(open))
    }

    /// Makes the tables of a new file, and checks the format of an old one.
    fn new(database: Database, path: PathBuf, again: Opener) -> Result<Self, Error> {
        prepare(&database, &path)?;
        Ok(Self { database: Some(database), path, file: None, again })
    }

    /// Opens it again, and reads everything.
    pub(super) fn reopen(&mut self) -> Result<Loaded, Error> {
        if let Some(failed) = self.database.take() {
            // It must be gone before: it holds the file's lock.
            guarded(&self.path, "close", || {
                drop(failed);
                Ok(())
            })?;
        }
        let database = (self.again)()?;
        prepare(&database, &self.path)?;
        self.database = Some(database);
        self.load()
    }

    /// The error of a file that is not what it should be.
    pub(super) fn damaged(&self, reason: &str) -> Error {
        corrupt(&self.path, reason)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    /// Reads everything, which also proves that it can be read.
    pub(super) fn load(&self) -> Result<Loaded, Error> {
        guarded(&self.path, "read", || self.load_tables())
    }

    fn load_tables(&self) -> Result<Loaded, redb::Error> {
        let read = self.database()?.begin_read()?;
        let revision = read.open_table(NUMBERS)?.get(REVISION)?.map_or(0, |number| number.value());
        let uuid = read.open_table(TEXTS)?.get(UUID)?.map(|text| text.value().to_owned()).unwrap_or_default();
        let mut entries = Vec::new();
        for row in read.open_table(OBJECTS)?.iter()? {
            let (key, value) = row?;
            let entry = decode(key.value(), value.value());
            let entry = entry.ok_or_else(|| redb::Error::Corrupted(format!("the object at {:?}", String::from_utf8_lossy(key.value()))))?;
            entries.push(entry);
        }
        Ok(Loaded { revision, uuid, entries })
    }

    /// Writes a batch and the revision it ends at, synced, to a file that the next start finds.
    pub(super) fn commit(&self, rows: &[Row], revision: u64) -> Result<(), Error> {
        self.write(rows, revision)?;
        match self.file {
            Some(file) if identity(&self.path)? != file => Err(Error::Gone { path: self.path.clone() }),
            _ => Ok(()),
        }
    }

    fn write(&self, rows: &[Row], revision: u64) -> Result<(), Error> {
        guarded(&self.path, "write", || {
            let write = self.database()?.begin_write()?;
            {
                let mut objects = write.open_table(OBJECTS)?;
                for row in rows {
                    match row {
                        Row::Put(entry) => drop(objects.insert(&*encode_key(&entry.key), &*encode_value(entry))?),
                        Row::Remove(key) => drop(objects.remove(&*encode_key(key))?),
                    }
                }
                write.open_table(NUMBERS)?.insert(REVISION, revision)?;
            }
            Ok(write.commit()?)
        })
    }

    /// Whether it takes so many bytes, synced; they are removed again.
    pub(super) fn prove(&self, bytes: usize) -> Result<(), Error> {
        guarded(&self.path, "write", || {
            let write = self.database()?.begin_write()?;
            write.open_table(PROOF)?.insert("", &*vec![1; bytes])?;
            write.commit()?;
            let write = self.database()?.begin_write()?;
            write.delete_table(PROOF)?;
            Ok(write.commit()?)
        })
    }
}

impl Row {
    /// How much of it is written.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put(entry) => entry.json.len(),
            Self::Remove(_) => 0,
        }
    }
}

/// Which file is at a path.
fn identity(path: &Path) -> Result<Identity, Error> {
    let found = std::fs::metadata(path).map_err(|source| lost_or("look at", path, source))?;
    Ok((found.dev(), found.ino()))
}

fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(|source| lost_or("open", path, source))?;
    guarded(path, "open", || Ok(Builder::new().set_cache_size(cache_bytes).create_file(file)?))
}

/// Writes the file's bytes over themselves, synced: after an error the system may take for written what is only in its cache, and says so once.
fn write_anew(path: &Path) -> Result<(), Error> {
    let again = || {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut chunk, at)?;
            let bytes = chunk.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                return file.sync_all().map(|()| at);
            }
            // Zeros are what is there where nothing was written; they need no room.
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(bytes, at)?;
            }
            at += read as u64;
        }
    };
    // redb would take an empty file for a new one.
    if again().map_err(|source| lost_or("write", path, source))? == 0 { Err(corrupt(path, "it is empty")) } else { Ok(()) }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Carries out something that redb may fail at. It asserts on some kinds of damage; that is an answer too, and nothing to print.
fn guarded<T>(path: &Path, act: &'static str, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Error> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                others(info);
            }
        }));
    });
    GUARDED.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    done.map_err(|_| corrupt(path, "its pages contradict each other"))?.map_err(|error| fault(path, act, error))
}

fn prepare(database: &Database, path: &Path) -> Result<(), Error> {
    match guarded(path, "read", || prepare_tables(database))? {
        FORMAT_NOW => Ok(()),
        found => Err(Error::Format { path: path.to_owned(), found, expected: FORMAT_NOW }),
    }
}

fn prepare_tables(database: &Database) -> Result<u64, redb::Error> {
    let format = match database.begin_read()?.open_table(NUMBERS) {
        Ok(numbers) => numbers.get(FORMAT)?.map(|number| number.value()),
        Err(TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(format) = format {
        return Ok(format);
    }
    let write = database.begin_write()?;
    write.open_table(NUMBERS)?.insert(FORMAT, FORMAT_NOW)?;
    write.open_table(NUMBERS)?.insert(REVISION, 1)?;
    write.open_table(TEXTS)?.insert(UUID, uuid::Uuid::new_v4().to_string().as_str())?;
    drop(write.open_table(OBJECTS)?);
    write.commit()?;
    Ok(FORMAT_NOW)
}

fn corrupt(path: &Path, reason: &str) -> Error {
    Error::Corrupt { path: path.to_owned(), reason: reason.to_owned() }
}

/// What redb says, told apart: the file is not what was written, or the system refuses something for now.
fn fault(path: &Path, act: &'static str, error: redb::Error) -> Error {
    match error {
        redb::Error::Io(source) if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
            corrupt(path, &source.to_string())
        }
        redb::Error::Io(source) => Error::System { act, path: path.to_owned(), source },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            Error::System { act, path: path.to_owned(), source: io::Error::other(error.to_string()) }
        }
        // The directory's lock is ours, so it is somebody who opened the file by another way.
        redb::Error::DatabaseAlreadyOpen => Error::LockedBy { dir: path.parent().unwrap_or(path).to_owned(), pid: 0 },
        other => corrupt(path, &other.to_string()),
    }
}

/// What the system said, or that there is nothing (any more).
fn lost_or(act: &'static str, path: &Path, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::NotFound {
        Error::Gone { path: path.to_owned() }
    } else {
        Error::System { act, path: path.to_owned(), source }
    }
}

fn encode_key(key: &Key) -> Vec<u8> {
    [key.resource.as_bytes(), key.namespace.as_bytes(), key.name.as_bytes()].join(&0)
}

fn encode_value(entry: &Entry) -> Vec<u8> {
    [&entry.revision.to_be_bytes(), entry.json.as_ref()].concat()
}

fn decode(key: &[u8], value: &[u8]) -> Option<Entry> {
    let key = std::str::from_utf8(key).ok()?;
    let mut parts = key.splitn(3, '\0');
    let key = Key::new(parts.next()?, parts.next()?, parts.next()?);
    let (revision, json) = value.split_first_chunk::<8>()?;
    Entry::from_json(key, u64::from_be_bytes(*revision), Bytes::copy_from_slice(json)).ok()
}
