//! Plain processes, each under a shim that outlives the controller. Owns `<state>/instances`; decides nothing; called by the controllers.
//!
//! ```text
//!  controller ── one connection per instance, whose end says "look again" ──┐
//!                                                                           ▼
//!   <state>/instances/<uid>/{record.json, exit.json, lock, s, log, log.1}  shim ── program ── …
//! ```
//! A shim holds `lock` for as long as it lives, so whether one lives is never guessed from a process id.
mod delegated;
mod exec;
mod log;
mod observe;
mod overrule;
mod port;
mod program;
mod rescue;
mod slot;
mod start;
mod strays;
mod watch;

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use futures::stream::BoxStream;

use super::{Error, ExecOutput, LogQuery};
use mesh_kit::shutdown::Shutdown;
use mesh_plan::instance::{Action, InstanceKey, Launch, Observed, ProcessLaunch};
use mesh_shim::dir::InstanceDir;

/// The backend. A clone is the same backend.
#[derive(Debug, Clone)]
pub struct ProcessBackend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `<state>/instances`.
    instances: PathBuf,
    /// The program `mesh-shim`.
    shim: PathBuf,
    /// A delegated control group, where there is one.
    cgroup: Option<PathBuf>,
    boot_id: String,
    shutdown: Shutdown,
    slots: slot::Slots,
    subscribers: super::changes::Subscribers,
    listening: port::Listening,
    /// Somebody goes round and looks.
    watched: AtomicBool,
}

impl ProcessBackend {
    /// A backend over `<state_dir>/instances`, which it makes. `shim` is the program mesh-shim.
    ///
    /// What runs there already is adopted when it is first looked at. Shutdown ends the watching, never an instance.
    pub fn new(state_dir: &Path, shim: PathBuf, shutdown: Shutdown) -> Result<Self, Error> {
        let instances = std::path::absolute(state_dir).map_err(system("find", state_dir))?.join("instances");
        DirBuilder::new().recursive(true).mode(0o700).create(&instances).map_err(system("make", &instances))?;
        let boot_id = mesh_shim::identity::boot_id().map_err(system("read the boot id for", &instances))?;
        Ok(Self(Arc::new(Inner::new(instances, shim, delegated::find(), boot_id, shutdown))))
    }

    /// Gives every program a control group of its own below this one, which must be delegated to this user (cgroup v2).
    #[must_use]
    pub fn with_cgroup(self, delegated: PathBuf) -> Self {
        let Inner { instances, shim, boot_id, shutdown, .. } = &*self.0;
        Self(Arc::new(Inner::new(instances.clone(), shim.clone(), Some(delegated), boot_id.clone(), shutdown.clone())))
    }

    /// Looks at one instance; adopts it if it runs and nobody watches it yet.
    pub async fn observe(&self, key: &InstanceKey) -> Result<Observed, Error> {
        self.0.observe(key).await
    }

    /// Does one action.
    pub async fn execute(&self, action: Action) -> Result<(), Error> {
        match action {
            Action::Start(launch) => match *launch {
                Launch::Process(launch) => self.start(launch).await,
                Launch::Container(launch) => Err(Error::WrongLaunch(launch.key)),
            },
            Action::Stop { key, grace } => self.0.stop(&key, grace).await,
            Action::Remove(key) => self.0.remove(&key).await,
        }
    }

    /// Goes on to its end even if the caller is dropped meanwhile: a start that is cut off would leave a program of which nobody was told.
    async fn start(&self, launch: ProcessLaunch) -> Result<(), Error> {
        let (inner, key) = (Arc::clone(&self.0), launch.key.clone());
        let end = self.0.shutdown.complete(async move { inner.start(launch).await }).await;
        end.unwrap_or_else(|| Err(Error::System { act: format!("start {key}"), source: io::ErrorKind::Interrupted.into() }))
    }

    /// Every instance that has a record here.
    pub async fn list(&self) -> Result<Vec<InstanceKey>, Error> {
        self.0.list().await
    }

    /// Says "look again" for every instance that was looked at or started while it ran.
    pub fn changes(&self) -> BoxStream<'static, InstanceKey> {
        self.0.subscribers.subscribe()
    }

    /// Runs a command with the launch's environment and working directory; all that it started is killed at its end.
    pub async fn exec(&self, launch: &Launch, argv: &[String], timeout: Duration) -> Result<ExecOutput, Error> {
        match launch {
            Launch::Process(launch) => self.0.exec(launch, argv, timeout).await,
            Launch::Container(launch) => Err(Error::WrongLaunch(launch.key.clone())),
        }
    }

    /// The instance's log, oldest first.
    pub fn logs(&self, key: &InstanceKey, query: LogQuery) -> BoxStream<'static, Result<bytes::Bytes, Error>> {
        match self.0.dir(key) {
            Ok(dir) => log::reader::read(dir, query),
            Err(error) => Box::pin(futures::stream::once(async { Err(error) })),
        }
    }

    /// Whether nobody on this machine listens on the port.
    pub fn port_is_free(&self, port: u16) -> io::Result<bool> {
        super::sockets::is_free(port)
    }
}

impl Inner {
    fn new(instances: PathBuf, shim: PathBuf, cgroup: Option<PathBuf>, boot_id: String, shutdown: Shutdown) -> Self {
        let (slots, subscribers, listening, watched) = Default::default();
        Self { instances, shim, cgroup, boot_id, shutdown, slots, subscribers, listening, watched }
    }

    fn dir(&self, key: &InstanceKey) -> Result<InstanceDir, Error> {
        InstanceDir::new(&self.instances, &key.uid).map_err(system("find the instance", &self.instances))
    }
}

/// Names what was done, and to what, in an error.
fn system(act: &str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let act = format!("{act} {}", path.display());
    move |source| Error::System { act, source }
}
