//! What a shim writes down about its instance, so that whoever comes after the controller knows whose processes these are and how they ended.
//! Holds no secret: never the environment, never the argument vector.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mesh_base::replace::{self, Durability};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::instance::{Exit, InstanceKey};

/// The name of the environment variable by which a process is known to belong to an instance.
pub const NONCE_VARIABLE: &str = "MESH_NONCE";

/// A process id together with what makes it unique within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proc {
    /// The process id.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from boot to its start.
    pub start: u64,
}

/// By what the whole tree of an instance is held together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Containment {
    /// A control group of its own: nothing escapes.
    Cgroup,
    /// The shim is the reaper of every descendant: nothing escapes while the shim lives.
    Subreaper,
}

/// One start of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which instance.
    pub key: InstanceKey,
    /// Which start of it.
    pub attempt: u32,
    /// The port it was given.
    pub port: Option<u16>,
    /// Random; also in the environment of the program and all that it starts.
    pub nonce: String,
    /// The boot in which the process ids mean something.
    pub boot_id: String,
    /// The shim.
    pub shim: Proc,
    /// The program; none while it is being started.
    pub child: Option<Proc>,
    /// When it was started.
    pub since: Timestamp,
    /// What holds its tree.
    pub containment: Containment,
    /// The control group, where there is one.
    pub cgroup: Option<PathBuf>,
    /// Since when it is being stopped.
    pub stopping: Option<Timestamp>,
}

/// The end of one start. It belongs to the record with the same nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// The nonce of the start.
    pub nonce: String,
    /// How it ended.
    pub exit: Exit,
    /// Log lines that could not be written (disk full).
    pub lost_lines: u64,
}

/// Writes a value so that a reader sees all of it or the former one, never a part.
///
/// It is not synced: after a crash of the machine no process of the record lives, and its boot id says so.
pub fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace::file(path, &serde_json::to_vec(value)?, 0o600, Durability::UntilReboot)
}

/// Reads a value that [`write()`] wrote; none if it was never written.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
