//! Unit files on disk. Only files with our header and this controller's id are ever changed or removed; everything else there is somebody's own.
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{place::Place, record::Record, shown, system};
use crate::{
    Error,
    quadlet::{
        header::{self, Found},
        keys::container as key,
        names, parse,
        unit::Unit,
        value::Value,
    },
};
use mesh_api::labels;
use mesh_kit::clock;
use mesh_kit::replace::{self, Durability};
use mesh_plan::instance::InstanceKey;

/// The folder of what services share; no service's folder can be called so.
const SHARED: &str = "mesh.shared";

/// A file that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// With this text.
    Text {
        /// Its path.
        path: PathBuf,
        /// Its text, header included.
        text: String,
        /// Where a user's own lines belong.
        drop_in: PathBuf,
    },
    /// A symbolic link to a file beside it.
    Link {
        /// Its path.
        path: PathBuf,
        /// The file's name.
        to: String,
    },
}

/// The paths of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paths {
    /// The service's folder.
    pub(super) folder: PathBuf,
    /// What all instances of the revision share.
    pub(super) template: PathBuf,
    /// The instance's own: a link to the template, or a whole unit.
    pub(super) own: PathBuf,
    /// The folder of its drop-ins.
    pub(super) drop_ins: PathBuf,
}

impl Paths {
    /// Of an instance.
    pub(super) fn new(place: &Place, namespace: &str, service: &str, stem: &str, ordinal: u32) -> Self {
        Self::below(place.units.join(names::folder(namespace, service)), stem, ordinal)
    }

    /// Of an instance that is known by its record only: its stem begins with the name of its folder.
    pub(super) fn of(place: &Place, record: &Record) -> Self {
        let folder = record.stem.rsplit_once('-').map_or(record.stem.as_str(), |(folder, _)| folder);
        Self::below(place.units.join(folder), &record.stem, record.ordinal)
    }

    fn below(folder: PathBuf, stem: &str, ordinal: u32) -> Self {
        let own = names::file(stem, Some(ordinal), "container");
        Self {
            template: folder.join(names::file(stem, None, "container")),
            drop_ins: folder.join(format!("{own}.d")),
            own: folder.join(own),
            folder,
        }
    }

    /// Our drop-in.
    pub(super) fn drop_in(&self) -> PathBuf {
        self.drop_ins.join(names::DROP_IN)
    }
}

/// Where a shared unit lies.
pub(super) fn shared(place: &Place, file: &str) -> PathBuf {
    place.units.join(SHARED).join(file)
}

/// Brings the files about; whether anything changed.
pub(super) fn bring_about(wanted: &[Wanted], controller: &str) -> Result<bool, Error> {
    let mut changed = false;
    for file in wanted {
        changed |= match file {
            Wanted::Text { path, text, drop_in } => text_file(path, text, drop_in, controller)?,
            Wanted::Link { path, to } => link(path, to)?,
        };
    }
    Ok(changed)
}

fn text_file(path: &Path, text: &str, drop_in: &Path, controller: &str) -> Result<bool, Error> {
    match fs::read_to_string(path) {
        Ok(there) if there == text => return Ok(false),
        Ok(there) => may_change(path, &there, drop_in, controller)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system("read", path)(error)),
    }
    write(path, text.as_bytes(), 0o644).map_err(system("write", path))?;
    Ok(true)
}

/// Whether a file that lies there is this controller's, and as it was made.
fn may_change(path: &Path, text: &str, drop_in: &Path, controller: &str) -> Result<(), Error> {
    match header::found(text) {
        Found::Ours if is_of(text, controller) => Ok(()),
        Found::Edited => Err(Error::Refused {
            act: format!("write unit file {}", path.display()),
            why: format!(
                "it was edited by hand, and is not overwritten: move your lines into {}, which stays as it is, then remove the file (rm {})",
                drop_in.display(),
                path.display()
            ),
        }),
        Found::Ours => Err(taken(
            path,
            "another controller or another set of mesh quadlet made it (its first line says which): remove it there, or remove the file",
        )),
        Found::Foreign => Err(taken(path, "move it away, or give the MeshService another name")),
    }
}

/// Whether this controller made it, by its header.
fn is_of(text: &str, controller: &str) -> bool {
    header::set(text) == Some(controller)
}

fn taken(path: &Path, remedy: &str) -> Error {
    Error::NameTaken { what: "unit file", name: shown(path), remedy: remedy.to_owned() }
}

fn link(path: &Path, to: &str) -> Result<bool, Error> {
    match fs::read_link(path) {
        Ok(there) if there == Path::new(to) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(system("make", parent))?;
            }
            symlink(to, path).map_err(system("link", path))?;
            Ok(true)
        }
        _ => Err(taken(path, "move it away, or give the MeshService another name")),
    }
}

/// Writes a file so that a reader sees all of it or the former one.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(parent)?;
    replace::file(path, content, mode, Durability::Synced)
}

/// Removes our own files of an instance; what the instance was the last to need.
pub(super) fn remove(place: &Place, record: &Record, controller: &str) -> io::Result<Freed> {
    let paths = Paths::of(place, record);
    remove_own(&paths.drop_in(), controller)?;
    // Not empty: somebody's own drop-ins are there.
    let _ = fs::remove_dir(&paths.drop_ins);
    if paths.own.is_symlink() {
        fs::remove_file(&paths.own)?;
    } else {
        remove_own(&paths.own, controller)?;
    }
    let last = !instances(&paths.folder, &record.stem)?;
    if last {
        remove_own(&paths.template, controller)?;
    }
    let _ = fs::remove_dir(&paths.folder);
    Ok(Freed { revision: last, shared: unused(place, controller)? })
}

/// What is needed no more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    /// It was the last instance of its revision.
    pub(super) revision: bool,
    /// Files of shared units that nothing names any more.
    pub(super) shared: Vec<PathBuf>,
}

/// Removes a file if this controller made it, and nobody edited it since.
pub(super) fn remove_own(path: &Path, controller: &str) -> io::Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if header::found(&text) == Found::Ours && is_of(&text, controller) => fs::remove_file(path),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "is not as it was made here, so it is left there");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a revision has instances yet.
fn instances(folder: &Path, stem: &str) -> io::Result<bool> {
    let of = |name: &str| name.strip_prefix(stem)?.strip_prefix('@')?.strip_suffix(".container")?.parse::<u32>().ok();
    Ok(listed(folder)?.iter().any(|path| path.file_name().and_then(|name| name.to_str()).and_then(of).is_some()))
}

fn unused(place: &Place, controller: &str) -> io::Result<Vec<PathBuf>> {
    let mut units = Vec::new();
    let top = listed(&place.units)?;
    let below = top.iter().map(|folder| listed(folder)).collect::<io::Result<Vec<_>>>()?.into_iter().flatten();
    for file in top.iter().cloned().chain(below).filter(|file| !file.is_symlink() && file.extension().is_some_and(names_others)) {
        units.extend(fs::read_to_string(file));
    }
    let named = |file: &str| units.iter().any(|text| text.contains(&format!("={file}\n")) || text.contains(&format!("={file}:")));
    let mut found = listed(&place.units.join(SHARED))?;
    found.retain(|path| {
        let is_ours = fs::read_to_string(path).is_ok_and(|text| header::found(&text) == Found::Ours && is_of(&text, controller));
        is_ours && !path.file_name().and_then(|name| name.to_str()).is_some_and(named)
    });
    Ok(found)
}

/// Whether units of that kind name networks and volumes.
fn names_others(extension: &std::ffi::OsStr) -> bool {
    ["container", "pod", "kube", "build"].iter().any(|kind| extension == *kind)
}

/// What is in a directory; nothing if it is none.
fn listed(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The instances whose units this controller made, as far as their units tell of them.
pub(super) fn found(units: &Path, controller: &str) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for folder in listed(units)? {
        for path in listed(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let (own, file) = match name.strip_suffix(".container.d") {
                Some(own) => (own, path.join(names::DROP_IN)),
                None if !path.is_symlink() => (name.strip_suffix(".container").unwrap_or_default(), path.clone()),
                None => continue,
            };
            let Some((stem, ordinal)) = own.split_once('@') else { continue };
            let (Ok(ordinal), Ok(text)) = (ordinal.parse(), fs::read_to_string(file)) else { continue };
            records.extend(is_of(&text, controller).then(|| told(&text, stem, ordinal, controller)).flatten());
        }
    }
    Ok(records)
}

/// What an instance's unit tells of it.
fn told(text: &str, stem: &str, ordinal: u32, controller: &str) -> Option<Record> {
    let unit = parse::unit(text).ok()?;
    let label = |name: &str| {
        unit.values(key::LABEL).find_map(|value| match value {
            Value::Pair(key, value) if key == name => Some(value.clone()),
            _ => None,
        })
    };
    if label(labels::CONTROLLER)? != controller {
        return None;
    }
    let key = InstanceKey { namespace: label(labels::NAMESPACE)?, name: label(labels::INSTANCE)?, uid: label(labels::UID)? };
    let container = last_text(&unit, key::CONTAINER_NAME)?;
    let mut record = Record::new(key, stem, ordinal, &container, clock::now());
    record.port = last_text(&unit, key::PUBLISH_PORT).and_then(|port| {
        let (host, inside) = port.strip_prefix("127.0.0.1:")?.split_once(':')?;
        Some((host.parse().ok()?, inside.parse().ok()?))
    });
    Some(record)
}

fn last_text(unit: &Unit, key: crate::quadlet::keys::Key) -> Option<String> {
    unit.values(key).last().and_then(|value| match value {
        Value::Text(text) => Some(text.clone()),
        Value::Words(_) | Value::Pair(..) | Value::Flag(_) => None,
    })
}

#[cfg(test)]
mod tests;
