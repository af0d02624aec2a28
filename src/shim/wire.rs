//! What backend and shim say to each other: JSON, a value per line, over a Unix socket. The launch goes in over the shim's standard input,
//! so that no secret stands in an argument vector or in a file.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::instance::ProcessLaunch;

/// Everything a shim is told at its start.
#[derive(Debug, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The instance's directory.
    pub dir: PathBuf,
    /// The program file, absolute: found and checked by the backend.
    pub program: PathBuf,
    /// What to launch.
    pub launch: ProcessLaunch,
    /// Random, new for every start.
    pub nonce: String,
    /// A delegated control group, in which the shim may make one for the program.
    pub cgroup: Option<PathBuf>,
}

/// The shim's one answer to its spec.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The program runs and its record is written.
    Started(Box<Record>),
    /// Another shim holds this instance, or has made this attempt: look again.
    Held,
    /// The system refused to execute the program.
    Exec {
        /// The system's error number.
        errno: i32,
    },
    /// Anything else.
    Failed {
        /// What was being done.
        act: String,
        /// What the system said.
        error: String,
    },
}

/// What a shim can be told over its control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// SIGTERM now, SIGKILL to the whole tree after the grace; a second one may only shorten it.
    Stop {
        /// The grace in milliseconds.
        grace_ms: u64,
    },
}

/// One value as a line.
pub fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
