//! The redb file: three tables, opened with care (a damaged file is reported, never overwritten), written one synced transaction per batch.
use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition, TableError,
    backends::InMemoryBackend,
};

use super::{
    entry::{Entry, Key},
    error::Error,
};

/// Key: resource NUL namespace NUL name. Value: revision (8 bytes, big endian), then the object's JSON.
const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
const TEXTS: TableDefinition<&str, &str> = TableDefinition::new("texts");
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

/// One row to write.
#[derive(Debug)]
pub(super) enum Row {
    Put(Arc<Entry>),
    Remove(Key),
}

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    path: PathBuf,
}

impl Disk {
    /// Opens `store.redb` in a directory, or makes it.
    pub(super) fn open(dir: &Path, cache_bytes: usize) -> Result<Self, Error> {
        let path = dir.join("store.redb");
        let system = |act| {
            let path = path.clone();
            move |source| Error::System { act, path, source }
        };
        if !path.try_exists().map_err(system("look for store file"))? {
            // Made under another name and renamed, so that a kill in the middle leaves nothing that looks like a damaged store.
            let unfinished = dir.join("store.redb.new");
            let _ = std::fs::remove_file(&unfinished);
            drop(Self::open_file(&unfinished, cache_bytes)?);
            std::fs::rename(&unfinished, &path).map_err(system("name store file"))?;
            std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(system("sync directory of store file"))?;
        } else if std::fs::metadata(&path).map_err(system("look at store file"))?.len() == 0 {
            // redb would take an empty file for a new one; here it means that somebody's objects are gone.
            return Err(Error::Corrupt { path, reason: "it is empty".to_owned() });
        }
        Self::open_file(&path, cache_bytes)
    }

    fn open_file(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|source| Error::System { act: "open store file", path: path.to_owned(), source })?;
        // redb asserts on some kinds of damage; that is an answer too.
        let opened = catch_unwind(AssertUnwindSafe(|| Builder::new().set_cache_size(cache_bytes).create_file(file)));
        let database = opened.map_err(|_| corrupt(path, "its pages contradict each other"))?.map_err(|error| open_error(path, error))?;
        Self::prepare(database, path)
    }

    /// A store without a file.
    pub(super) fn memory(cache_bytes: usize) -> Result<Self, Error> {
        Self::on(InMemoryBackend::new(), cache_bytes)
    }

    /// A store on anything that keeps bytes.
    pub(super) fn on(backend: impl StorageBackend, cache_bytes: usize) -> Result<Self, Error> {
        let path = PathBuf::from("(memory)");
        let database = Builder::new().set_cache_size(cache_bytes).create_with_backend(backend);
        Self::prepare(database.map_err(|error| open_error(&path, error))?, &path)
    }

    /// Makes the tables of a new file, and checks the format of an old one.
    fn prepare(database: Database, path: &Path) -> Result<Self, Error> {
        let format = catch_unwind(AssertUnwindSafe(|| prepare_tables(&database)));
        let format =
            format.map_err(|_| corrupt(path, "its tables contradict each other"))?.map_err(|error| corrupt(path, &error.to_string()))?;
        if format != FORMAT_NOW {
            return Err(Error::Format { path: path.to_owned(), found: format, expected: FORMAT_NOW });
        }
        Ok(Self { database, path: path.to_owned() })
    }

    /// Reads everything, which also proves that it can be read.
    pub(super) fn load(&self) -> Result<Loaded, Error> {
        let loaded = catch_unwind(AssertUnwindSafe(|| self.load_tables()));
        loaded
            .map_err(|_| corrupt(&self.path, "its tables contradict each other"))?
            .map_err(|error| corrupt(&self.path, &error.to_string()))
    }

    fn load_tables(&self) -> Result<Loaded, redb::Error> {
        let read = self.database.begin_read()?;
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

    /// Writes a batch and the revision it ends at, synced.
    pub(super) fn commit(&self, rows: &[Row], revision: u64) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
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

fn open_error(path: &Path, error: DatabaseError) -> Error {
    match error {
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() != io::ErrorKind::InvalidData && source.kind() != io::ErrorKind::UnexpectedEof =>
        {
            Error::System { act: "open store file", path: path.to_owned(), source }
        }
        // The directory's lock is ours, so it is somebody who opened the file by another way.
        DatabaseError::DatabaseAlreadyOpen => Error::LockedBy { dir: path.parent().unwrap_or(path).to_owned(), pid: 0 },
        other => corrupt(path, &other.to_string()),
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
