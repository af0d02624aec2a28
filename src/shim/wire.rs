//! What backend and shim say to each other: JSON, a value per line, over a Unix socket. The order goes in over the shim's standard input,
//! so that no secret stands in an argument vector or in a file.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::instance::ProcessLaunch;

/// What a shim is for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// To hold a program.
    Hold(Box<ShimSpec>),
    /// To run a command beside one, for a limited time, and to leave nothing of it.
    Run(Box<CommandSpec>),
}

/// Everything a shim is told that is to run a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct CommandSpec {
    /// The program file, absolute: found and checked by the backend.
    pub program: PathBuf,
    /// What to run: its arguments, environment and working directory.
    pub launch: ProcessLaunch,
    /// How long it may take, in milliseconds.
    pub limit_ms: u64,
    /// Random, new for every run.
    pub nonce: String,
    /// A delegated control group, in which the shim may make one for the command.
    pub cgroup: Option<PathBuf>,
}

/// Everything a shim is told that is to hold a program.
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

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnd {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// It did not end in time and was killed.
    pub timed_out: bool,
    /// The first kilobytes of its output, first of the one stream and then of the other.
    pub output: String,
}

/// The shim's one answer to its order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// The program runs and its record is written.
    Started(Box<Record>),
    /// The command has ended, and all that it had started.
    Ended(CommandEnd),
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
        /// And its number for it, where it has one.
        errno: Option<i32>,
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
