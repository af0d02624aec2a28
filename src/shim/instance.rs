//! One instance as a shim sees it: what to launch, and how that ended.
use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use mesh_base::redact::Redacted;
use serde::{Deserialize, Serialize};

/// Which instance. The uid is the identity: an object of the same name made anew is another instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceKey {
    /// The `MeshInstance`'s namespace.
    pub namespace: String,
    /// The `MeshInstance`'s name.
    pub name: String,
    /// The `MeshInstance`'s uid.
    pub uid: String,
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How much of an instance's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// A log file is rotated before it grows past this many bytes.
    pub max_bytes: u64,
    /// How many files are kept, the current one included.
    pub max_files: u32,
}

/// A plain process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLaunch {
    /// Which instance.
    pub key: InstanceKey,
    /// Counts the starts of this instance from 0; tells a stale observation from a new one.
    pub attempt: u32,
    /// The argument vector; the first is a path, or a name looked up in `PATH` of `env` (else the controller's). Never a shell.
    pub argv: Vec<String>,
    /// The whole environment of the program, in order; a later name wins.
    pub env: Vec<(String, Redacted)>,
    /// Absolute.
    pub working_dir: PathBuf,
    /// The TCP port the program is to listen on, where it has one.
    pub port: Option<u16>,
    /// What is kept of its output.
    pub log: LogLimits,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The start it belongs to.
    pub attempt: u32,
    /// When the program had started.
    pub since: Timestamp,
    /// When it ended.
    pub at: Timestamp,
    /// In which way.
    pub how: ExitHow,
}

/// The way a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitHow {
    /// It exited with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// What held it was killed, so its status is not known; its whole tree was ended.
    Unknown,
}

impl fmt::Display for ExitHow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an unknown status"),
        }
    }
}
