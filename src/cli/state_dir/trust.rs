//! Whether a state directory may be used: what it holds decides which programs are started, and as whom. So it is ours alone, or it is refused; nothing
//! that others could have put there is read.
use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::owner;

/// Group and others may write.
const OTHERS_WRITE: u32 = 0o022;
const ALL_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// What says who comes in, what is started, and what is taken for our own programs; everything that we write there is closed to others.
const DECIDING: [&str; 7] = ["store.redb", "pki", "kubeconfig", "instances", "controller-id", "engine-key", "lock"];
/// The directories in it that are looked into: who could write there could say who comes in, and what is taken for our own programs.
const INNER: [&str; 2] = ["pki", "instances"];

/// Why it is not used. The text names the path and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Distrust {
    /// It is another user's.
    #[error(
        "{} belongs to user {owner}, and this is user {us}: whoever owns it decides what is started here; \
         choose another --state-dir, or run this as user {owner}",
        path.display()
    )]
    Foreign {
        /// What.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who we are.
        us: String,
    },
    /// Others can write there.
    #[error(
        "{} can be written by other users (mode {mode:04o}), who could decide what is started here; \
         look at what is in it, then close it (chmod go-w), or choose another --state-dir",
        path.display()
    )]
    Writable {
        /// What.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It leads elsewhere.
    #[error("{} is a symbolic link, and must be a file or directory of its own: remove it, or choose another --state-dir", path.display())]
    Link {
        /// What.
        path: PathBuf,
    },
    /// Somebody could put another one in its place.
    #[error(
        "{} can be written by everybody and is not sticky (mode {mode:04o}), so anybody could put another state directory in the place of \
         the one below it; close it (chmod o-w), or choose another --state-dir",
        path.display()
    )]
    Parent {
        /// The directory above.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is something else.
    #[error("{} is no directory: choose another --state-dir", path.display())]
    NoDirectory {
        /// What.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("{act} {}: {source}", path.display())]
    System {
        /// What was being done.
        act: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the directory, for its owner only, or looks whether the one that is there may be used; absolute, because instances have other
/// working directories.
///
/// # Errors
/// It is not ours alone, or cannot be made.
pub fn prepare(dir: &Path) -> Result<PathBuf, Distrust> {
    prepare_for(dir, rustix::process::geteuid().as_raw())
}

fn prepare_for(dir: &Path, us: u32) -> Result<PathBuf, Distrust> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(system("make state directory", dir))?;
    // A link to it is as good as the hand that made it.
    owned(dir, &look(dir)?, us)?;
    let dir = dir.canonicalize().map_err(system("find state directory", dir))?;
    for parent in dir.ancestors().skip(1) {
        let mode = look(parent)?.mode() & 0o7777;
        if mode & ALL_WRITE != 0 && mode & STICKY == 0 {
            return Err(Distrust::Parent { path: parent.to_owned(), mode });
        }
    }
    let found = look(&dir)?;
    owned(&dir, &found, us)?;
    if !found.is_dir() {
        return Err(Distrust::NoDirectory { path: dir });
    }
    let entries = entries(&dir)?;
    if !entries.is_empty() {
        closed(&dir, &found)?;
    }
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(system("make private", &dir))?;
    for path in self::entries(&dir)? {
        ours(&path, DECIDING.iter().any(|name| path.ends_with(name)), us)?;
    }
    for inner in INNER.map(|name| dir.join(name)).into_iter().filter(|inner| inner.is_dir()) {
        for path in self::entries(&inner)? {
            ours(&path, true, us)?;
        }
    }
    Ok(dir)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Distrust> {
    let found = fs::read_dir(dir).and_then(|found| found.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    found.map_err(system("list", dir))
}

/// Whether something in the directory is ours, and ours alone if it decides anything. What went while we looked harms nobody.
fn ours(path: &Path, decides: bool, us: u32) -> Result<(), Distrust> {
    let found = match look(path) {
        Err(Distrust::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    owned(path, &found, us)?;
    if found.is_symlink() {
        return Err(Distrust::Link { path: path.to_owned() });
    }
    if decides { closed(path, &found) } else { Ok(()) }
}

fn owned(path: &Path, found: &Metadata, us: u32) -> Result<(), Distrust> {
    // What root has linked is the machine's own layout.
    if found.uid() == us || (found.is_symlink() && found.uid() == 0) {
        return Ok(());
    }
    Err(Distrust::Foreign { path: path.to_owned(), owner: owner::name(found.uid()), us: owner::name(us) })
}

fn closed(path: &Path, found: &Metadata) -> Result<(), Distrust> {
    let mode = found.mode() & 0o7777;
    if mode & OTHERS_WRITE == 0 { Ok(()) } else { Err(Distrust::Writable { path: path.to_owned(), mode }) }
}

fn look(path: &Path) -> Result<Metadata, Distrust> {
    fs::symlink_metadata(path).map_err(system("look at", path))
}

fn system(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Distrust + use<> {
    let path = path.to_owned();
    move |source| Distrust::System { act, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn us() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A directory as a controller has left it.
    fn used(parent: &Path) -> PathBuf {
        let dir = prepare_for(&parent.join("state"), us()).unwrap();
        for inner in INNER {
            fs::create_dir(dir.join(inner)).unwrap();
        }
        for file in ["store.redb", "kubeconfig", "pki/token", "instances/x"] {
            fs::write(dir.join(file), "").unwrap();
        }
        for path in ["pki", "instances"] {
            mode(&dir.join(path), 0o700);
        }
        for path in ["store.redb", "kubeconfig", "pki/token", "instances/x"] {
            mode(&dir.join(path), 0o600);
        }
        dir
    }

    #[test]
    fn a_directory_of_our_own_is_made_private_and_used_again() {
        let parent = tempfile::tempdir().unwrap();
        let dir = used(parent.path());
        mode(&dir, 0o755);
        assert_eq!(prepare_for(&dir, us()).unwrap(), dir);
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        // One that `mkdir` has made under a loose umask holds nothing yet.
        let empty = parent.path().join("empty");
        fs::create_dir(&empty).unwrap();
        mode(&empty, 0o777);
        prepare_for(&empty, us()).unwrap();
        assert_eq!(fs::metadata(&empty).unwrap().mode() & 0o777, 0o700);
        let link = parent.path().join("link");
        symlink(&dir, &link).unwrap();
        assert_eq!(prepare_for(&link, us()).unwrap(), dir, "a link of our own leads to it");
    }

    #[test]
    fn a_directory_of_another_user_is_refused_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let dir = used(parent.path());
        let refused = prepare_for(&dir, us() + 1).unwrap_err();
        assert!(matches!(&refused, Distrust::Foreign { path, .. } if *path == dir), "{refused}");
        assert!(refused.to_string().contains("choose another --state-dir"), "{refused}");
    }

    #[test]
    fn what_others_can_write_and_what_leads_elsewhere_is_refused_by_its_path() {
        for path in ["", "pki", "store.redb", "kubeconfig", "pki/token", "instances/x"] {
            let parent = tempfile::tempdir().unwrap();
            let dir = used(parent.path());
            mode(&dir.join(path), 0o770);
            let refused = prepare_for(&dir, us()).unwrap_err();
            assert!(matches!(&refused, Distrust::Writable { path: of, mode: 0o770 } if *of == dir.join(path)), "{path}: {refused}");
        }
        for path in ["pki", "kubeconfig", "pki/token", "instances/x"] {
            let parent = tempfile::tempdir().unwrap();
            let dir = used(parent.path());
            fs::rename(dir.join(path), parent.path().join("elsewhere")).unwrap();
            symlink(parent.path().join("elsewhere"), dir.join(path)).unwrap();
            let refused = prepare_for(&dir, us()).unwrap_err();
            assert!(matches!(&refused, Distrust::Link { path: of } if *of == dir.join(path)), "{path}: {refused}");
        }
    }

    #[test]
    fn a_place_where_anybody_can_put_another_directory_is_refused_and_a_sticky_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        mode(parent.path(), 0o777);
        let refused = prepare_for(&parent.path().join("state"), us()).unwrap_err();
        assert!(matches!(&refused, Distrust::Parent { mode: 0o777, .. }), "{refused}");
        mode(parent.path(), 0o1777);
        prepare_for(&parent.path().join("state"), us()).unwrap();
    }
}
