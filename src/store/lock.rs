//! The lock of a state directory: one process at a time, and the file says which. Released by the system when the process ends, however it ends.
use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

use super::error::Error;

/// The held lock; dropping it releases the directory.
#[derive(Debug)]
pub(super) struct DirLock(File);

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that was forked just now has the file open until it executes its program (flock(2)).
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Whether a process holds the directory; changes nothing.
pub(super) fn is_held(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}

impl DirLock {
    /// Makes the directory private, and takes its lock.
    pub(super) fn acquire(dir: &Path) -> Result<Self, Error> {
        make_private(dir)?;
        let path = dir.join("lock");
        let system = |act| {
            let path = path.clone();
            move |source: io::Error| Error::System { act, path, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(system("open lock file"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // A holder that has not written its id yet is reported as 0.
                let _ = file.read_to_string(&mut holder);
                return Err(Error::LockedBy { dir: dir.to_owned(), pid: holder.trim().parse().unwrap_or(0) });
            }
            Err(error) => return Err(system("lock")(error.into())),
        }
        write_pid(&mut file).map_err(system("write lock file"))?;
        Ok(Self(file))
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn make_private(dir: &Path) -> Result<(), Error> {
    let system = |act| move |source: io::Error| Error::System { act, path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(system("make state directory"))?;
    let mut permissions = std::fs::metadata(dir).map_err(system("look at state directory"))?.permissions();
    if permissions.mode() & 0o777 != 0o700 {
        permissions.set_mode(0o700);
        std::fs::set_permissions(dir, permissions).map_err(system("make private the state directory"))?;
    }
    Ok(())
}
