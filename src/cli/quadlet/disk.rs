//! What lies there against what is wanted. A file that somebody edited, or that is not ours, is not touched without force; what is ours, of the
//! same set, and no longer wanted goes. Every file is written beside its place and renamed.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use similar::TextDiff;

use super::{
    files::{Content, File, Layout, Root},
    plan::{self, Plan},
};
use crate::exit::{Code, Failure, Result};
use mesh_backend::quadlet::header::{self, Found};
use mesh_kit::replace::{self, Durability};

/// What a file is, compared with what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// Not there.
    New,
    /// As wanted.
    Same,
    /// Ours, and to be changed.
    Changed,
    /// Ours, but edited since.
    Edited,
    /// Somebody else's.
    Foreign,
    /// Ours, and no longer wanted.
    Unwanted,
    /// No longer wanted, but edited.
    UnwantedEdited,
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) root: Root,
    pub(super) path: String,
    pub(super) state: State,
    wanted: Option<File>,
}

/// The comparison.
pub(super) struct Disk<'a> {
    layout: &'a Layout,
    pub(super) changes: Vec<Change>,
}

impl<'a> Disk<'a> {
    /// Looks.
    pub(super) fn look(layout: &'a Layout, plan: &Plan) -> Result<Self> {
        let index = Index::read(layout, &plan.set)?;
        let mut changes = Vec::new();
        for file in &plan.files {
            let state = state(&layout.path(file.root, &file.path), file, &index)?;
            changes.push(Change { root: file.root, path: file.path.clone(), state, wanted: Some(file.clone()) });
        }
        let wanted: BTreeSet<(Root, &str)> = plan.files.iter().map(|file| (file.root, file.path.as_str())).collect();
        for root in Root::ALL {
            for (path, state) in ours(layout, root, &plan.set, &index)? {
                if !wanted.contains(&(root, path.as_str())) {
                    changes.push(Change { root, path, state, wanted: None });
                }
            }
        }
        Ok(Self { layout, changes })
    }

    /// The paths in a state.
    pub(super) fn in_state(&self, states: &[State]) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| states.contains(&change.state))
    }

    /// Writes and removes.
    ///
    /// # Errors
    /// Somebody's files are in the way and `force` is not given: then nothing has been done.
    pub(super) fn write(&self, force: bool) -> Result<Vec<(State, PathBuf)>> {
        let in_the_way: Vec<String> = self.in_state(&[State::Edited, State::Foreign]).map(|change| self.complaint(change)).collect();
        if !force && !in_the_way.is_empty() {
            let text = format!("{}\n--force overwrites them; `mesh quadlet diff` shows how they differ", in_the_way.join("\n"));
            return Err(Failure::new(Code::Conflict, text));
        }
        let mut done = Vec::new();
        for change in &self.changes {
            let path = self.layout.path(change.root, &change.path);
            match (&change.wanted, change.state) {
                (Some(_), State::Same) => {}
                (Some(file), _) => write(&path, &file.content)?,
                (None, State::UnwantedEdited) if !force => {}
                (None, _) => remove(&path, self.layout.root(change.root))?,
            }
            done.push((change.state, path));
        }
        Ok(done)
    }

    fn complaint(&self, change: &Change) -> String {
        let path = self.layout.path(change.root, &change.path);
        match change.state {
            State::Edited => format!("{}: somebody edited it", path.display()),
            _ => format!("{}: it is there, and mesh did not make it", path.display()),
        }
    }

    /// What would change, as a unified diff; empty if nothing would.
    pub(super) fn diff(&self) -> String {
        let mut out = String::new();
        for change in self.changes.iter().filter(|change| change.state != State::Same) {
            let path = self.layout.path(change.root, &change.path);
            let (old, new) = (there(&path), change.wanted.as_ref().map(|file| shown(&file.content)));
            let name = |side: &str, text: &Option<String>| match text {
                Some(_) => format!("{side}/{}", path.display()),
                None => "/dev/null".to_owned(),
            };
            let (from, to) = (name("a", &old), name("b", &new));
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            out += &TextDiff::from_lines(&old, &new).unified_diff().header(&from, &to).to_string();
        }
        out
    }
}

/// What a file shows in a diff.
fn shown(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Link(target) => format!("link to {target}\n"),
        Content::Bytes(bytes, _) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn there(path: &Path) -> Option<String> {
    if let Ok(target) = fs::read_link(path) {
        return Some(format!("link to {}\n", target.display()));
    }
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// The files without a header that were made for a set, with their hashes.
struct Index(BTreeMap<String, String>);

impl Index {
    fn read(layout: &Layout, set: &str) -> Result<Self> {
        let path = layout.path(Root::Data, &plan::index_file(set));
        let text = read(&path)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = header::body(&text).lines().filter_map(|line| line.split_once(' '));
        Ok(Self(lines.map(|(hash, path)| (path.to_owned(), hash.to_owned())).collect()))
    }

    fn is_ours(&self, path: &str, bytes: &[u8]) -> bool {
        self.0.get(path).is_some_and(|hash| *hash == plan::hash(bytes))
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::from(error).context(path.display())),
    }
}

fn state(path: &Path, file: &File, index: &Index) -> Result<State> {
    if let Ok(target) = fs::read_link(path) {
        return Ok(match &file.content {
            Content::Link(wanted) if *wanted == target.to_string_lossy() => State::Same,
            Content::Link(_) | Content::Text(_) if is_ours(&target) => State::Changed,
            _ => State::Foreign,
        });
    }
    let Some(bytes) = read(path)? else { return Ok(State::New) };
    Ok(match &file.content {
        Content::Text(text) if text.as_bytes() == bytes => State::Same,
        Content::Bytes(wanted, _) if *wanted == bytes => State::Same,
        Content::Bytes(..) if index.is_ours(&file.path, &bytes) => State::Changed,
        Content::Bytes(..) => State::Foreign,
        Content::Text(_) | Content::Link(_) => match header::found(&String::from_utf8_lossy(&bytes)) {
            Found::Ours => State::Changed,
            Found::Edited => State::Edited,
            Found::Foreign => State::Foreign,
        },
    })
}

/// A link that an instance is: to the template beside it.
fn is_ours(target: &Path) -> bool {
    let name = target.to_string_lossy();
    name.starts_with("mesh-") && name.ends_with("@.container") && !name.contains('/')
}

/// The files of a set below a root, except those of the index.
fn ours(layout: &Layout, root: Root, set: &str, index: &Index) -> Result<Vec<(String, State)>> {
    let mut found = Vec::new();
    let base = layout.root(root);
    walk(base, base, &mut |path, relative| {
        if let Ok(target) = fs::read_link(path) {
            let template = path.with_file_name(&target);
            let of_set = fs::read_to_string(template).is_ok_and(|text| header::set(&text) == Some(set));
            if is_ours(&target) && of_set {
                found.push((relative, State::Unwanted));
            }
            return Ok(());
        }
        let Some(bytes) = read(path)? else { return Ok(()) };
        if root == Root::Data && index.0.contains_key(&relative) {
            let state = if index.is_ours(&relative, &bytes) { State::Unwanted } else { State::UnwantedEdited };
            found.push((relative, state));
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        if header::set(&text) == Some(set) {
            let state = if header::found(&text) == Found::Ours { State::Unwanted } else { State::UnwantedEdited };
            found.push((relative, state));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Every file and link below a folder; links to folders are not followed.
fn walk(base: &Path, folder: &Path, see: &mut dyn FnMut(&Path, String) -> Result) -> Result {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::from(error).context(folder.display())),
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            walk(base, &path, see)?;
        } else if kind.is_file() || kind.is_symlink() {
            let relative = path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned();
            see(&path, relative)?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &Content) -> Result {
    let act = || format!("write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(act)?;
    }
    let placed = match content {
        Content::Text(text) => replace::file(path, text.as_bytes(), 0o644, Durability::Synced),
        Content::Bytes(bytes, mode) => replace::file(path, bytes, *mode, Durability::Synced),
        Content::Link(target) => replace::link(path, target.as_ref()),
    };
    Ok(placed.with_context(act)?)
}

/// Removes a file, and the folders that are empty then.
fn remove(path: &Path, base: &Path) -> Result {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::from(error).context(format!("remove {}", path.display())));
        }
        Ok(()) | Err(_) => {}
    }
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != base);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}
