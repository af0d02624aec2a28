//! The Quadlet backend: instances as units of systemd. Owns the unit files with its controller's id, `<state>/quadlet`, and what Podman was
//! given for them; never touches a drop-in or an object that somebody else made, and decides nothing. Called by the controllers.
//!
//! ```text
//!  controller ── files ──▶ <units>/mesh-<ns>.<svc>/{<stem>@.container, <stem>@0.container → it, <stem>@0.container.d/10-mesh.conf}
//!      │  ▲                        │ Reload, once for many
//!      │  └─ D-Bus: what changed ─ systemd ── <stem>@0.service: podman run ── conmon ── the program
//!      └──── D-Bus: start, stop ──▶ │
//! ```
//! systemd holds the instances: they outlive this process, start again by themselves, and come back after a reboot of the machine.
mod bus;
mod changes;
mod engines;
mod exec;
mod files;
mod image;
mod index;
mod journal;
pub mod left;
mod logs;
mod look;
mod maker;
mod place;
mod podman;
mod proc;
mod record;
mod reload;
mod remove;
mod start;
mod state;
mod stop;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::stream::BoxStream;
use tokio::sync::{broadcast, watch};

pub use self::place::Manager;
use self::{
    bus::{Bus, JobEnd},
    engines::Engines,
    index::Index,
    maker::Maker,
    place::Place,
    reload::Reloads,
};
use crate::{
    Error, ExecOutput, InstanceUsage, LogQuery,
    changes::Subscribers,
    images::pulls::Pulls,
    podman::{adopted::Adopted, identity as controller},
    sockets,
};
use mesh_kit::shutdown::Shutdown;
use mesh_plan::instance::{Action, ContainerLaunch, InstanceKey, Launch, Observed};
use mesh_shim::identity;

/// The backend. A clone is the same backend.
#[derive(Debug, Clone)]
pub struct QuadletBackend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Where things are, and for which versions.
    place: Place,
    /// This controller, as everything says that it makes.
    maker: Maker,
    /// What is used that an earlier state directory here has left.
    adopted: Adopted,
    boot_id: String,
    bus: Bus,
    index: Index,
    engines: Engines,
    reloads: Reloads,
    pulls: Pulls<String>,
    /// Who writes or removes unit files, networks and secrets: one at a time, so that what the last one needs is not removed by another.
    writing: tokio::sync::Mutex<()>,
    subscribers: Subscribers,
    /// Whether systemd is heard.
    health: watch::Sender<Result<(), String>>,
    /// Ends of systemd's jobs.
    jobs: broadcast::Sender<JobEnd>,
    /// Uids of instances that are gone: who follows their logs is done.
    removed: broadcast::Sender<String>,
    shutdown: Shutdown,
}

impl QuadletBackend {
    /// A backend over `<state_dir>/quadlet` and the units of the system's manager (root) or the user's. What runs there already is adopted.
    ///
    /// # Errors
    /// systemd's bus is not there, Podman is missing or too old, or files cannot be read.
    pub async fn new(state_dir: &Path, shutdown: Shutdown) -> Result<Self, Error> {
        let state_dir = std::path::absolute(state_dir).map_err(system("find", state_dir))?;
        let bus = Bus::new(Manager::of_this_user());
        let version = bus.version().await?;
        let place = Place::find(Manager::of_this_user(), &state_dir, &version).await?;
        let left = match controller::place_without_id(&state_dir) {
            Some(here) => files::left_by(&place.units, &here).map_err(system("read the units in", &place.units))?,
            None => None,
        };
        let id = controller::controller_id(&state_dir, left.as_deref())?;
        let boot_id = identity::boot_id().map_err(system("read the boot id for", &state_dir))?;
        let index = Index::load(&place, &id)?;
        let (jobs, removed, health) = (broadcast::channel(1024).0, broadcast::channel(64).0, watch::channel(Ok(())).0);
        let (reloads, pulls, writing, subscribers, engines) = Default::default();
        let inner = Inner {
            place,
            maker: Maker { controller: id, state_dir: controller::place(&state_dir) },
            adopted: Adopted::new(left.is_some()),
            boot_id,
            bus,
            index,
            engines,
            reloads,
            pulls,
            writing,
            subscribers,
            health,
            jobs,
            removed,
            shutdown,
        };
        let inner = Arc::new(inner);
        let running = controller::hold(&inner.maker.controller);
        let watching = changes::watch(Arc::clone(&inner), inner.shutdown.triggered());
        inner.shutdown.spawn("quadlet-changes", async move {
            let end = watching.await;
            drop(running);
            end
        });
        Ok(Self(inner))
    }

    /// Looks at one instance.
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

    /// Goes on to its end even if the caller is dropped meanwhile: files half written would be found by the next one only.
    async fn start(&self, launch: ContainerLaunch) -> Result<(), Error> {
        let (inner, key) = (Arc::clone(&self.0), launch.key.clone());
        let end = self.0.shutdown.complete(async move { Box::pin(inner.start(launch)).await }).await;
        end.unwrap_or_else(|| Err(Error::System { act: format!("start {key}"), source: io::ErrorKind::Interrupted.into() }))
    }

    /// Every instance that has a record or a unit with this controller's id.
    pub fn list(&self) -> Vec<InstanceKey> {
        self.0.index.keys()
    }

    /// What the last start of an instance uses that a controller which is gone has made, in words; told once.
    pub fn adopted(&self, key: &InstanceKey) -> Option<String> {
        self.0.adopted.take(key)
    }

    /// Whether systemd is heard; if not, why.
    pub fn health(&self) -> watch::Receiver<Result<(), String>> {
        self.0.health.subscribe()
    }

    /// Says "look again" when systemd says that something of a unit changed.
    pub fn changes(&self) -> BoxStream<'static, InstanceKey> {
        self.0.subscribers.subscribe()
    }

    /// Runs a command in the instance's container.
    pub async fn exec(&self, launch: &Launch, argv: &[String], timeout: Duration) -> Result<ExecOutput, Error> {
        match launch {
            Launch::Container(launch) => self.0.exec(&launch.container.name, argv, timeout).await,
            Launch::Process(launch) => Err(Error::WrongLaunch(launch.key.clone())),
        }
    }

    /// What the instance wrote, from the journal.
    pub fn logs(&self, key: &InstanceKey, query: &LogQuery) -> BoxStream<'static, Result<bytes::Bytes, Error>> {
        self.0.logs(key, query)
    }

    /// What every running instance uses, as systemd counts it; where it does not count memory, that is 0.
    pub async fn usage(&self) -> Result<Vec<InstanceUsage>, Error> {
        self.0.usage().await
    }

    /// Whether nobody on this machine listens on the port.
    pub fn port_is_free(&self, port: u16) -> io::Result<bool> {
        sockets::is_free(port)
    }
}

/// Names what was done, and to what, in an error.
fn system(act: &str, path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let act = format!("{act} {}", path.display());
    move |source| Error::System { act, source }
}

/// A path as it is told to people.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What [`Inner`] has of its own below the state directory.
fn own_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("quadlet")
}
