//! What runs instances. A closed set of backends, dispatched by `match`; each observes, and executes actions without deciding anything.
//! A backend is told nothing about routing or about the API.
pub(crate) mod changes;
pub mod engine;
pub mod fake;
mod images;
pub mod kubernetes;
mod output;
pub mod podman;
pub mod process;
pub mod quadlet;
pub(crate) mod ready;
pub mod sockets;

use std::{path::PathBuf, time::Duration};

use futures::{future::BoxFuture, stream::BoxStream};
use tokio::sync::watch;

use mesh_plan::instance::{Action, InstanceKey, Launch, Observed};

/// The backends there are.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Plain processes, each under a shim that outlives the controller.
    Process(process::ProcessBackend),
    /// Containers of Podman (or Docker), over the socket of its API.
    Podman(podman::PodmanBackend),
    /// Units of systemd, made by Quadlet.
    Quadlet(quadlet::live::QuadletBackend),
    /// For tests: in memory, scripted.
    Fake(fake::FakeBackend),
}

/// Why an action or a look failed. The `Display` text names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not there.
    #[error("{program}: no such program{}", looked_in(.program, .path.as_deref()))]
    CommandNotFound {
        /// As written in the spec.
        program: String,
        /// The PATH that was searched, if it was.
        path: Option<String>,
    },
    /// The program is there but cannot be executed.
    #[error("{program}: {source}{}", permit(.source))]
    CommandNotExecutable {
        /// The file.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The working directory is not there or is no directory.
    #[error("workingDir {}: {source}", dir.display())]
    WorkingDir {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is to be started is nothing for this backend: a mistake in the wiring.
    #[error("{0} cannot be started by this backend")]
    WrongLaunch(InstanceKey),
    /// The container engine does not answer.
    #[error("{engine} does not answer: {why}")]
    EngineUnreachable {
        /// Which engine, with its socket.
        engine: String,
        /// What is wrong, and the command that mends it.
        why: String,
    },
    /// The image is on its way: ask again.
    #[error("pulling image {image}{}", how_far(.progress))]
    Pulling {
        /// The image.
        image: String,
        /// How far it is; may be empty.
        progress: String,
    },
    /// The image cannot be had.
    #[error("image {image}: {why}")]
    Image {
        /// The image.
        image: String,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// The image must not be pulled, and is not here.
    #[error("image {image} is not on this machine, and imagePullPolicy is Never: pull it (podman pull {image}), or choose another policy")]
    ImageNeverPull {
        /// The image.
        image: String,
    },
    /// The image is for another kind of machine.
    #[error("image {image} is for {found}, this machine is {wanted}: give an image that is built for {wanted} as well")]
    ImageArchitecture {
        /// The image.
        image: String,
        /// Its architecture.
        found: String,
        /// The machine's.
        wanted: String,
    },
    /// Something of that name is there and is not ours.
    #[error("{what} {name} is there already and does not belong to this controller: {remedy}")]
    NameTaken {
        /// container, network, volume, unit.
        what: &'static str,
        /// Its name.
        name: String,
        /// What to do.
        remedy: String,
    },
    /// A path of the machine that a volume names is not as it should be.
    #[error("hostPath {path}: {why}")]
    HostPath {
        /// The path.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The port on the machine is taken.
    #[error("port {port} of this machine is taken by another program; another one is tried (ss -ltnp 'sport = :{port}' shows who has it)")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// This engine cannot do what the spec asks for.
    #[error("{0}")]
    Unsupported(String),
    /// The engine or systemd refused; the text has the remedy where one is known.
    #[error("{act}: {why}")]
    Refused {
        /// What was being done, with the thing it was done to.
        act: String,
        /// What was said.
        why: String,
    },
    /// It runs, so it cannot be removed.
    #[error("{0} still runs: stop it first")]
    StillRuns(InstanceKey),
    /// Anything else the system refused.
    #[error("{act}: {source}")]
    System {
        /// What was being done, with the thing it was done to.
        act: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the trouble is on our side, so that it says nothing about the instance: something was used up, or its engine does not answer.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::EngineUnreachable { .. } => true,
            Self::System { source, .. } | Self::CommandNotExecutable { source, .. } | Self::WorkingDir { source, .. } => {
                mesh_base::exhausted::is_exhausted(source)
            }
            Self::CommandNotFound { .. }
            | Self::WrongLaunch(_)
            | Self::Pulling { .. }
            | Self::Image { .. }
            | Self::ImageNeverPull { .. }
            | Self::ImageArchitecture { .. }
            | Self::NameTaken { .. }
            | Self::HostPath { .. }
            | Self::PortTaken { .. }
            | Self::Unsupported(_)
            | Self::Refused { .. }
            | Self::StillRuns(_) => false,
        }
    }
}

fn how_far(progress: &str) -> String {
    if progress.is_empty() { String::new() } else { format!(": {progress}") }
}

/// A bare name was looked for in PATH; `command: ["sleep 100"]` is one such name.
fn looked_in(program: &str, path: Option<&str>) -> String {
    let Some(path) = path else { return String::new() };
    let words: Vec<&str> = program.split_whitespace().collect();
    let split = if words.len() > 1 { format!("; no shell splits it, so write each word by itself: {words:?}") } else { String::new() };
    format!(" in PATH {path}{split}")
}

fn permit(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => "; make it executable (chmod +x) or name its interpreter first in `command`",
        _ => "",
    }
}

/// The end of a command run beside an instance (an `exec` probe).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code; none if it was killed by a signal or ran out of time.
    pub code: Option<i32>,
    /// The first kilobytes of its output, both streams, lossily as text.
    pub output: String,
    /// It did not end in time and was killed.
    pub timed_out: bool,
}

/// What one running instance uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceUsage {
    /// Which instance.
    pub key: InstanceKey,
    /// CPU time since its start.
    pub cpu: Duration,
    /// Memory now, in bytes.
    pub memory: u64,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines written at or after this time.
    pub since: Option<jiff::Timestamp>,
    /// Go on with what is written from now, until the instance is removed or the reader goes.
    pub follow: bool,
    /// Put the time of each line (RFC 3339) before it.
    pub timestamps: bool,
}

/// Futures are boxed here, at the crate's edge: what they are made of is compiled once, and not again in each crate that awaits them.
impl Backend {
    /// Looks at one instance.
    pub fn observe<'a>(&'a self, key: &'a InstanceKey) -> BoxFuture<'a, Result<Observed, Error>> {
        Box::pin(async move {
            match self {
                Self::Process(backend) => backend.observe(key).await,
                Self::Podman(backend) => backend.observe(key).await,
                Self::Quadlet(backend) => backend.observe(key).await,
                Self::Fake(backend) => backend.observe(key).await,
            }
        })
    }

    /// Does one action.
    pub fn execute(&self, action: Action) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            match self {
                Self::Process(backend) => backend.execute(action).await,
                Self::Podman(backend) => backend.execute(action).await,
                Self::Quadlet(backend) => backend.execute(action).await,
                Self::Fake(backend) => backend.execute(action).await,
            }
        })
    }

    /// Every instance of which something exists here, running or ended: what the controller does not know is an orphan.
    pub fn list(&self) -> BoxFuture<'_, Result<Vec<InstanceKey>, Error>> {
        Box::pin(async move {
            match self {
                Self::Process(backend) => backend.list().await,
                Self::Podman(backend) => backend.list().await,
                Self::Quadlet(backend) => Ok(backend.list()),
                Self::Fake(backend) => backend.list().await,
            }
        })
    }

    /// Whether what it relies on answers; if not, why and what mends it. None for one that relies on nothing else.
    pub fn health(&self) -> Option<watch::Receiver<Result<(), String>>> {
        match self {
            Self::Process(_) => None,
            Self::Podman(backend) => Some(backend.health()),
            Self::Quadlet(backend) => Some(backend.health()),
            Self::Fake(backend) => Some(backend.health()),
        }
    }

    /// Says "look again at this one"; never what happened. Each call gives a stream of its own; nothing is lost between calls that matters,
    /// because the caller looks at everything once after it has subscribed.
    pub fn changes(&self) -> BoxStream<'static, InstanceKey> {
        match self {
            Self::Process(backend) => backend.changes(),
            Self::Podman(backend) => backend.changes(),
            Self::Quadlet(backend) => backend.changes(),
            Self::Fake(backend) => backend.changes(),
        }
    }

    /// Runs a command beside an instance, with its environment and working directory.
    pub fn exec<'a>(&'a self, launch: &'a Launch, argv: &'a [String], timeout: Duration) -> BoxFuture<'a, Result<ExecOutput, Error>> {
        Box::pin(async move {
            match self {
                Self::Process(backend) => backend.exec(launch, argv, timeout).await,
                Self::Podman(backend) => backend.exec(launch, argv, timeout).await,
                Self::Quadlet(backend) => backend.exec(launch, argv, timeout).await,
                Self::Fake(backend) => backend.exec(launch, argv, timeout).await,
            }
        })
    }

    /// What the last start of an instance uses that a controller which is gone has made, in words; told once.
    pub fn adopted(&self, key: &InstanceKey) -> Option<String> {
        match self {
            Self::Podman(backend) => backend.adopted(key),
            Self::Quadlet(backend) => backend.adopted(key),
            Self::Process(_) | Self::Fake(_) => None,
        }
    }

    /// The instance's output: raw bytes of the lines it wrote, both streams in order.
    pub fn logs(&self, key: &InstanceKey, query: LogQuery) -> BoxStream<'static, Result<bytes::Bytes, Error>> {
        match self {
            Self::Process(backend) => backend.logs(key, query),
            Self::Podman(backend) => backend.logs(key, query),
            Self::Quadlet(backend) => backend.logs(key, &query),
            Self::Fake(backend) => backend.logs(key, query),
        }
    }

    /// What every running instance uses, as far as this backend can tell.
    pub fn usage(&self) -> BoxFuture<'_, Result<Vec<InstanceUsage>, Error>> {
        Box::pin(async move {
            match self {
                Self::Podman(backend) => backend.usage().await,
                Self::Quadlet(backend) => backend.usage().await,
                Self::Process(_) | Self::Fake(_) => Ok(Vec::new()),
            }
        })
    }

    /// Whether nobody on this machine listens on the port, so that an instance may be given it.
    ///
    /// # Errors
    /// Something was used up: it is not known.
    pub fn port_is_free(&self, port: u16) -> std::io::Result<bool> {
        match self {
            Self::Process(backend) => backend.port_is_free(port),
            Self::Podman(backend) => backend.port_is_free(port),
            Self::Quadlet(backend) => backend.port_is_free(port),
            Self::Fake(backend) => Ok(backend.port_is_free(port)),
        }
    }
}
