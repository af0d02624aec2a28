//! Containers of Podman (or of a Docker engine), over the socket of its API. Owns `<state>/controller-id`, `<state>/engine-key`,
//! `<state>/volumes`, and in the engine what carries its id as a label; nothing else there is ever touched. Decides nothing; called by the controllers.
//!
//! ```text
//!  controller ── asks the engine when an event, a pidfd or a relist says "look again"; answers from memory until then
//!      │ API socket            │ pidfd of the main process
//!      ▼                       ▼
//!   podman ── conmon ── program in its container, which outlives the engine and the controller
//! ```
//! One container per start: the one before it is kept as `<name>-previous`, so that the log shows how it ended. The engine's restart policy is
//! always `no`: its own has no backoff and is not ours to decide.
pub(crate) mod adopted;
mod exec;
pub(crate) mod identity;
mod image;
pub mod left;
mod logs;
pub(crate) mod mounts;
mod network;
mod observe;
pub(crate) mod process;
pub(crate) mod refusal;
mod remove;
mod room;
mod secrets;
mod slot;
mod start;
mod stop;
mod usage;
mod watch;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use futures::stream::BoxStream;
use tokio::sync::{Mutex, RwLock, Semaphore, watch as latest};

use super::{
    Error, ExecOutput, InstanceUsage, LogQuery,
    changes::Subscribers,
    engine::{self, Engine},
    images::pulls::Pulls,
    sockets,
};
use mesh_kit::shutdown::Shutdown;
use mesh_plan::instance::{Action, ContainerLaunch, InstanceKey, Launch, Observed};

/// So many containers are made and started at once; more only get into each other's way in the engine.
const STARTS_AT_ONCE: usize = 4;

/// The backend. A clone is the same backend.
#[derive(Debug, Clone)]
pub struct PodmanBackend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    /// The state directory.
    state: PathBuf,
    /// Marks what is ours in the engine.
    controller: String,
    adopted: adopted::Adopted,
    secret_key: secrets::Key,
    shutdown: Shutdown,
    slots: slot::Slots,
    subscribers: Subscribers,
    pulls: Pulls<Arc<engine::Error>>,
    starts: Semaphore,
    /// Read while a start relies on networks and secrets that no container uses yet; written while those that none uses are removed.
    shared: RwLock<()>,
    /// Networks and volumes are made one at a time: two starts may need the same.
    making: Mutex<()>,
    health: latest::Sender<Result<(), String>>,
}

impl PodmanBackend {
    /// A backend on an engine, with its own files below the state directory, which must exist and be closed to others.
    ///
    /// What runs there already is adopted when it is first looked at. Shutdown ends the watching, never an instance.
    pub async fn new(state_dir: &std::path::Path, engine: Engine, shutdown: Shutdown) -> Result<Self, Error> {
        let state = std::path::absolute(state_dir).map_err(system("find", state_dir))?;
        let left = identity::left_here(&engine, &state).await?;
        let controller = identity::controller_id(&state, left.as_deref())?;
        let secret_key = secrets::key(&state)?;
        let inner = Arc::new(Inner {
            engine,
            state,
            controller,
            adopted: adopted::Adopted::new(left.is_some()),
            secret_key,
            shutdown,
            slots: slot::Slots::default(),
            subscribers: Subscribers::default(),
            pulls: Pulls::default(),
            starts: Semaphore::new(STARTS_AT_ONCE),
            shared: RwLock::default(),
            making: Mutex::default(),
            health: latest::Sender::new(Ok(())),
        });
        let (running, watching) = (identity::hold(&inner.controller), watch::watch(Arc::clone(&inner)));
        inner.shutdown.spawn_work(async move {
            watching.await;
            drop(running);
        });
        Ok(Self(inner))
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The id that everything of ours carries in the engine.
    pub fn controller(&self) -> &str {
        &self.0.controller
    }

    /// What the last start of an instance uses that a controller which is gone has made, in words; told once.
    pub fn adopted(&self, key: &InstanceKey) -> Option<String> {
        self.0.adopted.take(key)
    }

    /// Whether the engine answers; if not, why and what mends it.
    pub fn health(&self) -> latest::Receiver<Result<(), String>> {
        self.0.health.subscribe()
    }

    /// Looks at one instance; adopts it if it runs.
    pub async fn observe(&self, key: &InstanceKey) -> Result<Observed, Error> {
        self.0.observe(key).await
    }

    /// Does one action.
    pub async fn execute(&self, action: Action) -> Result<(), Error> {
        match action {
            Action::Start(launch) => match *launch {
                Launch::Container(launch) => self.start(launch).await,
                Launch::Process(launch) => Err(Error::WrongLaunch(launch.key)),
            },
            Action::Stop { key, grace } => self.0.stop(&key, grace).await,
            Action::Remove(key) => self.0.remove(&key).await,
        }
    }

    /// Goes on to its end even if the caller is dropped meanwhile: a start that is cut off would leave a container of which nobody was told.
    async fn start(&self, launch: ContainerLaunch) -> Result<(), Error> {
        let (inner, key) = (Arc::clone(&self.0), launch.key.clone());
        let end = self.0.shutdown.complete(async move { inner.start(&launch).await }).await;
        end.unwrap_or_else(|| Err(Error::System { act: format!("start {key}"), source: io::ErrorKind::Interrupted.into() }))
    }

    /// Every instance of ours of which the engine has something.
    pub async fn list(&self) -> Result<Vec<InstanceKey>, Error> {
        self.0.list().await
    }

    /// Says "look again" for every instance that something happens to, and for all of them after the engine could not be heard for a while.
    pub fn changes(&self) -> BoxStream<'static, InstanceKey> {
        self.0.subscribers.subscribe()
    }

    /// Runs a command in the instance's container.
    pub async fn exec(&self, launch: &Launch, argv: &[String], timeout: Duration) -> Result<ExecOutput, Error> {
        self.0.exec(launch.key(), argv, timeout).await
    }

    /// The instance's log: that of the run before this one first, then that of the current one.
    pub fn logs(&self, key: &InstanceKey, query: LogQuery) -> BoxStream<'static, Result<bytes::Bytes, Error>> {
        logs::read(Arc::clone(&self.0), key, query)
    }

    /// Whether nobody on this machine listens on the port.
    pub fn port_is_free(&self, port: u16) -> io::Result<bool> {
        sockets::is_free(port)
    }

    /// What every running instance of ours uses, in one call.
    pub async fn usage(&self) -> Result<Vec<InstanceUsage>, Error> {
        self.0.usage().await
    }
}

/// Names what was done, and to what, in an error.
fn system(act: &str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let act = format!("{act} {}", path.display());
    move |source| Error::System { act, source }
}
