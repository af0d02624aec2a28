//! One instance as a backend sees it: what to launch, what was observed, and the closed set of actions.
use std::time::Duration;

use jiff::Timestamp;

pub use mesh_shim::instance::{Exit, ExitHow, InstanceKey, LogLimits, ProcessLaunch};

use crate::container::{Container, RegistryAuth};

/// Everything a backend needs to start one instance; every reference is resolved already.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it lies in a Box")]
pub enum Launch {
    /// A plain process.
    Process(ProcessLaunch),
    /// A container.
    Container(ContainerLaunch),
}

impl Launch {
    /// Which instance.
    pub fn key(&self) -> &InstanceKey {
        match self {
            Self::Process(launch) => &launch.key,
            Self::Container(launch) => &launch.key,
        }
    }

    /// Which start of it.
    pub fn attempt(&self) -> u32 {
        match self {
            Self::Process(launch) => launch.attempt,
            Self::Container(launch) => launch.attempt,
        }
    }

    /// Its TCP port on the machine, where it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Process(launch) => launch.port,
            Self::Container(launch) => launch.container.port.map(|port| port.host),
        }
    }
}

/// A container to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLaunch {
    /// Which instance.
    pub key: InstanceKey,
    /// Counts the starts of this instance from 0; tells a stale observation from a new one.
    pub attempt: u32,
    /// What is run.
    pub container: Container,
    /// Who asks registries for its image.
    pub auth: Vec<RegistryAuth>,
    /// What is kept of its output.
    pub log: LogLimits,
}

/// What a backend found when it looked at one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Nothing of it exists here.
    Absent,
    /// Its program runs.
    Running(Running),
    /// Its program ended (or could not be started); what is left of its tree is gone too.
    Exited(Exit),
}

/// A running program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The start it belongs to.
    pub attempt: u32,
    /// The program's process id.
    pub pid: u32,
    /// When it started.
    pub since: Timestamp,
    /// It was told to stop.
    pub stopping: bool,
    /// Where it answers: the address and port, for one that has a port.
    pub address: Option<std::net::SocketAddr>,
    /// Who listens on its port.
    pub port_owner: PortOwner,
    /// The image that its container was made from, by digest; none for a plain process.
    pub image: Option<String>,
}

/// Who listens on the port that an instance was given. Traffic goes to `Ours` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortOwner {
    /// The instance has no port.
    NoPort,
    /// Nobody listens yet.
    Nobody,
    /// A process of the instance's own tree.
    Ours,
    /// Somebody else; named as well as could be found out (`pid 123 (nginx)`).
    Foreign(String),
    /// A process of the instance, but on the container's own loopback only, where nothing from outside arrives.
    LoopbackOnly,
    /// It could not be looked at, for a cause on our side.
    Unknown(String),
}

/// What a backend can be told to do. Each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start it, unless it runs or this very attempt was made already (then it is `Exited`, and a new start needs a new attempt).
    Start(Box<Launch>),
    /// Ask it to end (SIGTERM) and end its whole tree (SIGKILL) after the grace, even if the controller is gone by then. Returns at once.
    Stop {
        /// Which.
        key: InstanceKey,
        /// Time between SIGTERM and SIGKILL; zero kills at once. A second Stop may only shorten it.
        grace: Duration,
    },
    /// Remove what is kept of an ended instance: its record and its logs. Refused while it runs.
    Remove(InstanceKey),
}
