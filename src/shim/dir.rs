//! The directory of one instance, `<state>/instances/<uid>`, and the names in it.
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

/// The record of the last start.
pub const RECORD: &str = "record.json";
/// How that start ended.
pub const EXIT: &str = "exit.json";
/// The shim's control socket.
pub const SOCKET: &str = "s";
/// Held by the shim for as long as it lives.
pub const LOCK: &str = "lock";
/// The current log file; the rotated ones have `.1`, `.2`, … behind it, the newest first.
pub const LOG: &str = "log";

/// The directory of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceDir(PathBuf);

impl InstanceDir {
    /// The directory of the instance with this uid.
    ///
    /// # Errors
    /// A uid that is no plain file name: it comes from the API and must not lead out of the state directory.
    pub fn new(instances: &Path, uid: &str) -> io::Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if uid.is_empty() || uid.len() > 128 || uid.starts_with('.') || !uid.bytes().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("uid {uid:?} is no plain file name")));
        }
        Ok(Self(instances.join(uid)))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes it, for its owner only. True if it was not there.
    pub fn create(&self) -> io::Result<bool> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes it with all that is in it.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a shim holds the lock. The kernel lets go of it when the shim dies, in whatever way, so no process id can deceive here.
    pub fn shim_lives(&self) -> io::Result<bool> {
        let file = match File::open(self.file(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the current directory, the instance's, was removed: then nothing leads here any more.
pub fn is_gone() -> bool {
    std::env::current_dir().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Takes the lock of the current directory for as long as the file is kept; none if another shim has it.
pub fn take_lock() -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(LOCK)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_that_leads_out_of_the_state_directory_is_refused() {
        for uid in ["", ".", "..", "../x", "a/b", "a\0b", "a\nb", ".hidden", &"x".repeat(129)] {
            assert!(InstanceDir::new(Path::new("/s"), uid).is_err(), "{uid:?}");
        }
        assert_eq!(InstanceDir::new(Path::new("/s"), "0b9c-1").unwrap().path(), Path::new("/s/0b9c-1"));
    }
}
