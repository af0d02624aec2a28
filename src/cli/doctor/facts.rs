//! What was read from the machine, in values: all that the checks know.
use std::{net::SocketAddr, path::PathBuf};

use super::Purpose;
use mesh_api::node::PortRange;
use mesh_backend::podman::left::Made;

/// The machine.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// For which backend; none: for any.
    pub(super) purpose: Option<Purpose>,
    pub(super) user: User,
    pub(super) engine: Engine,
    pub(super) leftovers: Leftovers,
    pub(super) cgroups: Cgroups,
    pub(super) systemd: Systemd,
    pub(super) sub_ids: SubIds,
    pub(super) selinux: Selinux,
    pub(super) ports: Vec<Port>,
    pub(super) range: Range,
    pub(super) generator: Option<Generator>,
    pub(super) state_dir: StateDir,
    /// Where the shim must be, and whether it is there.
    pub(super) shim: (PathBuf, bool),
    pub(super) kubectl: Option<PathBuf>,
}

/// Whoever called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
}

impl User {
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// The container engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Engine {
    /// What was named is no Unix socket.
    NotUnix(String),
    /// Nothing at any of these places; and whether the program `podman` is there.
    Absent { looked: Vec<PathBuf>, podman: bool },
    /// It may not be opened.
    Denied(PathBuf),
    /// It is there, and nobody answers.
    Silent(PathBuf, String),
    /// It answers with an error.
    Failing(String),
    /// It answers.
    Answers { socket: PathBuf, kind: EngineKind, version: Option<Version> },
}

/// What other controllers have made in the engine, and units of those that are gone.
pub(super) type Leftovers = Vec<Made>;

/// Which program answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EngineKind {
    Podman,
    Docker,
    /// Something else; what was odd.
    Other(String),
}

/// The first two numbers of a version.
pub(super) type Version = (u32, u32);

/// How the machine limits groups of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups {
    /// 2, 1 (or both at once, which is as 1); none if it cannot be told.
    pub(super) version: Option<u8>,
    /// Controllers that this user's processes may be limited by; none if it is not the question: root has them all.
    pub(super) delegated: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Systemd {
    /// It is the machine's first process.
    pub(super) booted: bool,
    /// This user has one too.
    pub(super) user_manager: bool,
    /// That one runs from boot on.
    pub(super) lingering: bool,
}

/// What an engine without root needs for users inside containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SubIds {
    /// How many subordinate user ids, and group ids.
    pub(super) counts: (u64, u64),
    pub(super) newuidmap: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selinux {
    Absent,
    Permissive,
    Enforcing,
}

/// An address that is to be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) what: &'static str,
    pub(super) flag: &'static str,
    pub(super) address: SocketAddr,
    pub(super) state: PortState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortState {
    Free,
    /// By whom, if that can be seen: the program's name and its process id.
    Taken(Option<(String, i32)>),
    /// Not for this user: ports below this number are not.
    Denied(u16),
    /// Something else, in the system's words.
    Unusable(String),
}

/// The ports of instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) ports: PortRange,
    /// How many of them somebody listens on.
    pub(super) taken: usize,
    /// Ports that the kernel gives to outgoing connections.
    pub(super) ephemeral: Option<(u16, u16)>,
}

/// Podman's generator of units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Generator {
    pub(super) path: PathBuf,
    pub(super) version: Option<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateDir {
    pub(super) path: PathBuf,
    pub(super) state: StateDirState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StateDirState {
    /// Not there yet; whether it can be made.
    Missing { can_be_made: bool },
    /// Its permissions and its owner.
    There { mode: u32, owner: u32 },
    /// Not to be looked at, in the system's words.
    Unreadable(String),
    /// A controller would refuse what it has stored there, and why.
    Unusable(String),
}
