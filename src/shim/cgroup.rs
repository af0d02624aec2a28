//! A control group for one program, where the backend found a delegated one. Best effort: without it the subreaper holds the tree.
//!
//! The program must be born inside, so the shim goes in, starts it, and goes out again: the group then holds the tree alone and
//! `cgroup.kill` ends it at once (Linux 5.14).
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A control group that this shim made.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    home: PathBuf,
}

impl Cgroup {
    /// Makes the group `mesh-<name>` under a delegated one and enters it.
    pub fn enter(delegated: &Path, name: &str) -> io::Result<Self> {
        let path = delegated.join(format!("mesh-{name}"));
        if let Err(error) = fs::create_dir(&path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let group = Self { path, home: delegated.to_owned() };
        if fs::read_to_string(group.path.join("cgroup.procs"))?.trim().is_empty() && group.path.join("cgroup.kill").exists() {
            join(&group.path)?;
            return Ok(group);
        }
        Err(io::Error::other("the control group is in use, or cannot be killed as a whole"))
    }

    /// Leaves it, so that only the program's tree is in it.
    pub fn leave(&self) -> io::Result<()> {
        join(&self.home)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Ends all that is in a group.
pub fn kill(group: &Path) {
    // If this fails the descendants are still ended one by one.
    let _ = fs::write(group.join("cgroup.kill"), "1");
}

/// Removes an empty group; false if it is not: a process in it still waits for its parent to take its status, or cannot die yet.
pub fn remove(group: &Path) -> bool {
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}
