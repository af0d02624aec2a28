//! The instances that are known: their records, in memory and on disk, and by the names of their units. One lock per instance for actions on it.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{bus::object_path, files, place::Place, record, record::Record, system};
use crate::Error;
use mesh_plan::instance::InstanceKey;

/// The instances, by uid.
#[derive(Debug, Default)]
pub(super) struct Index {
    known: Mutex<HashMap<String, Record>>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Index {
    /// What is on disk. An instance whose record was lost is known by its unit.
    pub(super) fn load(place: &Place, controller: &str) -> Result<Self, Error> {
        let mut known = HashMap::new();
        for record in files::found(&place.units, controller).map_err(system("read the units in", &place.units))? {
            known.insert(record.key.uid.clone(), record);
        }
        for record in record::all(&place.records).map_err(system("read the records in", &place.records))? {
            known.insert(record.key.uid.clone(), record);
        }
        Ok(Self { known: Mutex::new(known), locks: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One's record.
    pub(super) fn get(&self, uid: &str) -> Option<Record> {
        self.known().get(uid).cloned()
    }

    /// Writes one down, on disk first; not if nothing of it changed.
    pub(super) fn put(&self, place: &Place, record: Record) -> Result<(), Error> {
        if self.known().get(&record.key.uid) == Some(&record) {
            return Ok(());
        }
        record::write(&place.records, &record).map_err(system("write the record in", &place.records))?;
        self.known().insert(record.key.uid.clone(), record);
        Ok(())
    }

    /// Forgets one.
    pub(super) fn forget(&self, place: &Place, uid: &str) -> Result<(), Error> {
        record::remove(&place.records, uid).map_err(system("remove the record in", &place.records))?;
        self.known().remove(uid);
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, lock| id != uid || Arc::strong_count(lock) > 1);
        Ok(())
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Record> {
        self.known().values().cloned().collect()
    }

    /// The keys of all of them.
    pub(super) fn keys(&self) -> Vec<InstanceKey> {
        self.known().values().map(|record| record.key.clone()).collect()
    }

    /// The one whose unit has that object on the bus.
    pub(super) fn of_object(&self, path: &str) -> Option<InstanceKey> {
        self.known().values().find(|record| object_path(&record.unit()) == path).map(|record| record.key.clone())
    }

    /// Another one that has the same unit.
    pub(super) fn other_of(&self, uid: &str, unit: &str) -> Option<InstanceKey> {
        self.known().values().find(|record| record.key.uid != uid && record.unit() == unit).map(|record| record.key.clone())
    }

    /// The lock of one: two actions on it must not overlap.
    pub(super) fn lock(&self, uid: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(locks.entry(uid.to_owned()).or_default())
    }
}
