//! A unit file under a header with a hash, by which a change by hand is seen.
use std::{
    io,
    path::{Path, PathBuf},
};

use super::failed;
use crate::exit::{Code, Failure, Result};
use mesh_backend::quadlet::header;
use mesh_kit::replace::{self, Durability};

/// What all files of `install` are called in their headers.
const SET: &str = "mesh-controller";

/// A unit file, as it is to be.
#[derive(Debug)]
pub(super) struct UnitFile {
    pub(super) path: PathBuf,
    body: String,
}

impl UnitFile {
    pub(super) fn new(dir: &Path, name: &str, body: String) -> Self {
        Self { path: dir.join(name), body }
    }

    /// The text with its header.
    pub(super) fn text(&self) -> String {
        header::add(&self.body, SET, "mesh-controller install")
    }

    pub(super) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Refuses where a person has written what is there, unless that is to be lost.
    pub(super) fn may_be_changed(&self, force: bool) -> Result {
        let there = match std::fs::read_to_string(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &self.path, &error)),
        };
        if force || header::found(&there) == header::Found::Ours {
            return Ok(());
        }
        let text = format!(
            "{} was not written by `mesh-controller install`, or was edited by hand since: move your changes to a drop-in (systemctl edit {}), \
             or lose them with --force",
            self.path.display(),
            self.path.file_name().unwrap_or_default().display()
        );
        Err(Failure::new(Code::Conflict, text))
    }

    /// Writes it; whether that changed anything.
    pub(super) fn write(&self) -> Result<bool> {
        let text = self.text();
        if std::fs::read_to_string(&self.path).is_ok_and(|there| there == text) {
            return Ok(false);
        }
        let write = || {
            let dir = self.path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(dir)?;
            replace::file(&self.path, text.as_bytes(), 0o644, Durability::Synced)
        };
        write().map_err(|error| failed("write", &self.path, &error)).map(|()| true)
    }

    pub(super) fn remove(&self) -> Result {
        std::fs::remove_file(&self.path).map_err(|error| failed("remove", &self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_edited_by_hand_is_not_changed_unless_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let file = UnitFile::new(dir.path(), "a.service", "[Unit]\n".to_owned());
        file.may_be_changed(false).unwrap();
        assert!(file.write().unwrap() && !file.write().unwrap(), "the second time nothing changes");
        UnitFile::new(dir.path(), "a.service", "[Service]\n".to_owned()).may_be_changed(false).unwrap();
        for edited in [format!("{}User=x\n", file.text()), "[Unit]\n".to_owned(), file.text().replace("[Unit]", "[Unix]")] {
            std::fs::write(&file.path, edited).unwrap();
            let refusal = file.may_be_changed(false).unwrap_err();
            assert_eq!(refusal.code, Code::Conflict);
            assert!(refusal.text().contains("--force") && refusal.text().contains("systemctl edit a.service"), "{}", refusal.text());
            file.may_be_changed(true).unwrap();
        }
    }
}
