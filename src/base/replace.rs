//! A file is put in its place as a whole: whoever reads it sees the former one or the new one, never a part.
use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// Whether a file must be there after the machine has lost its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk before it is in its place.
    Synced,
    /// It means nothing after a restart of the machine.
    UntilReboot,
}

/// Replaces a file, or makes it; its folder must be there. `mode` is the file's, whatever the umask. What cannot be written leaves nothing behind.
pub fn file(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    with(path, |new| {
        // A secret is nobody's to read on its way either.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        match durability {
            Durability::Synced => file.sync_all(),
            Durability::UntilReboot => Ok(()),
        }
    })
}

/// Replaces what is at `path` by a link.
pub fn link(path: &Path, target: &Path) -> io::Result<()> {
    with(path, |new| std::os::unix::fs::symlink(target, new))
}

fn with(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = beside(path)?;
    // Of a process with this id that was killed.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    make(&new).and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Hidden and with an ending of its own, so that nobody who reads the folder takes it for one of its files.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = b".".to_vec();
    hidden.extend_from_slice(name.as_bytes());
    hidden.extend_from_slice(format!(".{}.new", std::process::id()).as_bytes());
    Ok(path.with_file_name(std::ffi::OsStr::from_bytes(&hidden)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_has_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, mode) in [("one", 0o644), ("two", 0o600)] {
            file(&path, text.as_bytes(), mode, Durability::Synced).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        }
        link(&path, Path::new("elsewhere")).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
        assert_eq!(names(dir.path()), ["token"]);
    }

    #[test]
    fn a_link_at_the_place_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&other, "untouched").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        file(&path, b"new", 0o600, Durability::UntilReboot).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::read_to_string(&other).unwrap().as_str()), ("new", "untouched"));
    }

    #[test]
    fn what_cannot_be_put_in_its_place_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "").unwrap();
        assert!(file(&path, b"x", 0o600, Durability::Synced).is_err());
        assert_eq!(names(dir.path()), ["taken"]);
    }
}
