//! Unit files on disk. Only files with our header and this controller's id are ever changed or removed; everything else there is somebody's own.
use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{maker::Maker, record::Record, shown, system};
use crate::{
    Error,
    podman::{adopted::whose, left::What},
    quadlet::{
        header::{self, Found},
        keys::container as key,
        names, parse,
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
    pub(super) fn new(units: &Path, namespace: &str, service: &str, stem: &str, ordinal: u32) -> Self {
        Self::below(units.join(names::folder(namespace, service)), stem, ordinal)
    }

    /// Of an instance that is known by its record only: its stem begins with the name of its folder.
    pub(super) fn of(units: &Path, record: &Record) -> Self {
        let folder = record.stem.rsplit_once('-').map_or(record.stem.as_str(), |(folder, _)| folder);
        Self::below(units.join(folder), &record.stem, record.ordinal)
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
pub(super) fn shared(units: &Path, file: &str) -> PathBuf {
    units.join(SHARED).join(file)
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
        Found::Ours => Err(taken(path, &of_another(path, text))),
        Found::Foreign => Err(taken(path, "move it away, or give the MeshService another name")),
    }
}

/// What to do about a file that another controller made.
fn of_another(path: &Path, text: &str) -> String {
    let whose = Maker::of(text).map(|maker| whose(|label| maker.label(label))).filter(|whose| !whose.is_empty());
    let whose = whose.unwrap_or_else(|| {
        "another controller or another set of mesh quadlet made it (its first line says which): remove it there, or, if that is gone for good, "
            .to_owned()
    });
    format!(
        "{whose}stop its unit and remove the file (rm {}), or give the MeshService (or its spec.podman.network) another name",
        path.display()
    )
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
pub(super) fn remove(units: &Path, record: &Record, controller: &str) -> io::Result<Freed> {
    let paths = Paths::of(units, record);
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
    Ok(Freed { revision: last, shared: unused(units, controller)? })
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

/// The shared units of a controller that no unit names, whoever made it.
pub(super) fn unused(units: &Path, controller: &str) -> io::Result<Vec<PathBuf>> {
    let mut texts = Vec::new();
    let top = listed(units)?;
    let below = top.iter().map(|folder| listed(folder)).collect::<io::Result<Vec<_>>>()?.into_iter().flatten();
    for file in top.iter().cloned().chain(below).filter(|file| !file.is_symlink() && file.extension().is_some_and(names_others)) {
        texts.extend(fs::read_to_string(file));
    }
    let named = |file: &str| texts.iter().any(|text| text.contains(&format!("={file}\n")) || text.contains(&format!("={file}:")));
    let mut found = listed(&units.join(SHARED))?;
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

/// Every unit file and drop-in with our header, whoever made it, and its text.
pub(super) fn made(units: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for path in listed(units)?.iter().map(|folder| listed(folder)).collect::<io::Result<Vec<_>>>()?.into_iter().flatten() {
        let file = if path.is_dir() { path.join(names::DROP_IN) } else { path };
        let text = if file.is_symlink() { None } else { fs::read_to_string(&file).ok() };
        found.extend(text.filter(|text| header::set(text).is_some()).map(|text| (file, text)));
    }
    Ok(found)
}

/// The instance that a unit file or drop-in is of: its stem and its number. None of what instances share.
fn instance_of(file: &Path) -> Option<(&str, u32)> {
    let is_drop_in = file.file_name()? == names::DROP_IN;
    let own = if is_drop_in { file.parent()?.file_stem()? } else { file.file_name()? };
    let (stem, ordinal) = own.to_str()?.strip_suffix(".container")?.split_once('@')?;
    Some((stem, ordinal.parse().ok()?))
}

/// What a unit file or drop-in stands for: a unit of systemd, or what units share. None of a template, which goes with the last of its units.
pub(super) fn stands_for(file: &Path) -> Option<(What, String)> {
    let shared = || Some(file.file_stem()?.to_str()?.to_owned());
    match file.extension()?.to_str()? {
        "network" => Some((What::Network, shared()?)),
        "volume" => Some((What::Volume, shared()?)),
        _ => instance_of(file).map(|(stem, ordinal)| (What::Unit, names::service(stem, ordinal))),
    }
}

/// The instances whose units this controller made, as far as their units tell of them.
pub(super) fn found(units: &Path, controller: &str) -> io::Result<Vec<Record>> {
    let ours = made(units)?.into_iter().filter(|(_, text)| is_of(text, controller));
    Ok(ours.filter_map(|(file, text)| instance_of(&file).and_then(|(stem, ordinal)| told(&text, stem, ordinal, controller))).collect())
}

/// The id of a controller whose state directory was there, as far as a unit tells of it.
pub(super) fn left_by(units: &Path, state_dir: &str) -> io::Result<Option<String>> {
    let makers = made(units)?.into_iter().filter_map(|(_, text)| Maker::of(&text));
    Ok(makers.filter(|maker| maker.state_dir.as_deref() == Some(state_dir)).map(|maker| maker.controller).next())
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
    let container = unit.last_text(key::CONTAINER_NAME)?;
    let mut record = Record::new(key, stem, ordinal, container, clock::now());
    let mounts = unit.values(key::VOLUME).filter_map(|value| value.text()?.split_once(':'));
    record.volumes = mounts.map(|(source, _)| source.to_owned()).filter(|source| goes_with(source, container)).collect();
    record.port = unit.last_text(key::PUBLISH_PORT).and_then(|port| {
        let (host, inside) = port.strip_prefix("127.0.0.1:")?.split_once(':')?;
        Some((host.parse().ok()?, inside.parse().ok()?))
    });
    Some(record)
}

/// Whether a volume is an instance's alone: it is called so, and has no unit of its own.
fn goes_with(volume: &str, container: &str) -> bool {
    volume.strip_prefix(container).is_some_and(|rest| rest.starts_with('-') && !rest.ends_with(".volume"))
}

#[cfg(test)]
mod tests;
