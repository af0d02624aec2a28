//! Starts an instance under a new shim; stops and removes instances.
use std::{io, os::fd::OwnedFd, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::{Child, Command},
    time::Instant,
};

use super::{
    Inner, overrule, program,
    slot::{self, Held},
    system,
};
use crate::Error;
use mesh_base::exhausted::{is_exhausted, seen};
use mesh_kit::{clock, descriptors};
use mesh_plan::instance::{InstanceKey, Observed, ProcessLaunch};
use mesh_shim::{
    dir::{InstanceDir, RECORD},
    identity,
    record::{self, Record},
    wire::{self, Order, Reply, Request, ShimSpec},
};
use rustix::process::Pid;

/// A shim answers within milliseconds; a machine that swaps may take its time.
const ANSWER: Duration = Duration::from_secs(30);
/// One that runs is told something in microseconds.
const HEEDED: Duration = Duration::from_secs(5);
/// How often to wait for a former shim that is about to end.
const HELD_ROUNDS: usize = 1000;
const PAUSE: Duration = Duration::from_millis(2);

impl Inner {
    pub(crate) async fn start(self: &Arc<Self>, launch: ProcessLaunch) -> Result<(), Error> {
        let key = launch.key.clone();
        let slot = self.slots.of(&key.uid);
        let mut held = slot.lock().await;
        let dir = self.dir(&key)?;
        for _ in 0..HELD_ROUNDS {
            match self.look(&key, &mut held).await? {
                Observed::Running(_) => return Ok(()),
                // This start has been done; that it is over already is for the observer to see.
                Observed::Exited(exit) if exit.attempt == launch.attempt => return Ok(()),
                Observed::Exited(_) | Observed::Absent => {}
            }
            if let Some(started) = self.start_once(&dir, &launch).await? {
                *held = Some(started);
                self.subscribers.tell(&key);
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(system("lock", dir.path())(io::Error::new(io::ErrorKind::ResourceBusy, "another shim holds the instance")))
    }

    /// None if another shim has the instance: one that is about to end, or one that a killed controller had just started.
    async fn start_once(self: &Arc<Self>, dir: &InstanceDir, launch: &ProcessLaunch) -> Result<Option<Held>, Error> {
        let program = program::resolve(launch)?;
        let fresh = dir.create().map_err(system("make", dir.path()))?;
        let nonce = new_nonce();
        let started = self.launch(dir, launch, program, nonce).await;
        if started.is_err() && fresh && !dir.file(RECORD).exists() && !dir.shim_lives().unwrap_or(true) {
            // What stays is removed by the next listing.
            let _ = dir.remove();
        }
        started
    }

    async fn launch(
        self: &Arc<Self>,
        dir: &InstanceDir,
        launch: &ProcessLaunch,
        program: PathBuf,
        nonce: String,
    ) -> Result<Option<Held>, Error> {
        let (at, cgroup) = (dir.path().to_owned(), self.cgroup.clone());
        let spec = ShimSpec { dir: at, program: program.clone(), launch: launch.clone(), nonce: nonce.clone(), cgroup };
        let (mut shim, mut socket) = self.spawn().map_err(system("start the shim", &self.shim))?;
        let reply = match ask(&mut socket, &Order::Hold(Box::new(spec)), ANSWER).await {
            Ok(Reply::Started(record)) => return Ok(Some(self.hold(*record, socket, Some(shim)))),
            Ok(reply) => reply,
            Err(error) => {
                self.end_shim(&mut shim, &nonce).await;
                self.end_half_started(dir, &launch.key, &nonce).await.map_err(system("end what is left of", dir.path()))?;
                return Err(system("start under the shim", &self.shim)(error));
            }
        };
        // It has nothing more to do; its status says nothing that the reply does not.
        let _ = shim.wait().await;
        match reply {
            Reply::Held | Reply::Started(_) | Reply::Ended(_) => Ok(None),
            Reply::Exec { errno } => Err(program::refusal(program, errno)),
            Reply::Failed { act, error, errno } => Err(system(&format!("{act} of {}:", launch.key), dir.path())(said(error, errno))),
        }
    }

    /// A shim that was killed before it answered may have started the program already.
    async fn end_half_started(&self, dir: &InstanceDir, key: &InstanceKey, nonce: &str) -> io::Result<()> {
        match seen(record::read::<Record>(&dir.file(RECORD)))?.flatten() {
            Some(record) if record.nonce == nonce => self.rescue(key, &record, dir).await,
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn spawn(&self) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let mut command = Command::new(&self.shim);
        // Its own environment is empty: the controller's may hold secrets, and the shim needs nothing of it.
        command.env_clear().stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        let shim = command.spawn()?;
        // Before it has been told what to start: the program inherits the limit.
        if let Some(pid) = shim.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            descriptors::give_back(pid)?;
        }
        Ok((shim, socket))
    }

    pub(crate) async fn stop(self: &Arc<Self>, key: &InstanceKey, grace: Duration) -> Result<(), Error> {
        let slot = self.slots.of(&key.uid);
        let mut held = slot.lock().await;
        self.look(key, &mut held).await?;
        let Some(held) = held.as_mut() else { return Ok(()) };
        let dir = self.dir(key)?;
        let request = Request::Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) };
        let line = wire::line(&request).map_err(|error| system("stop", dir.path())(error.into()))?;
        let told = tokio::time::timeout(HEEDED, tell(&dir, &line)).await.unwrap_or_else(|late| Err(late.into()));
        let end = Instant::now().checked_add(grace);
        match told {
            Ok(()) => self.overrule_at(held, end.and_then(|end| end.checked_add(overrule::SLACK))),
            // It has just ended, and the next look says so; or its directory was removed under it, and a signal is the only way left.
            Err(_) if !dir.shim_lives().unwrap_or(true) => {
                if !identity::terminate(&held.record.shim).map_err(system("stop the program of", dir.path()))? {
                    return Ok(());
                }
                tracing::warn!(instance = %key, dir = %dir.path().display(), "the directory is gone; its shim is told to end by SIGTERM");
            }
            // What failed is on our side: it was not even asked.
            Err(error) if is_exhausted(&error) => return Err(system("stop the program of", dir.path())(error)),
            Err(_) => {
                overrule::tell_program(key, &held.record).map_err(system("stop the program of", dir.path()))?;
                self.overrule_at(held, end);
            }
        }
        held.record.stopping = held.record.stopping.or_else(|| Some(clock::now()));
        Ok(())
    }

    pub(crate) async fn remove(self: &Arc<Self>, key: &InstanceKey) -> Result<(), Error> {
        let slot = self.slots.of(&key.uid);
        let mut held = slot.lock().await;
        if let Observed::Running(_) = self.look(key, &mut held).await? {
            return Err(Error::StillRuns(key.clone()));
        }
        let dir = self.dir(key)?;
        dir.remove().map_err(system("remove", dir.path()))?;
        drop(held);
        self.slots.forget(&key.uid, &slot);
        Ok(())
    }
}

pub(super) fn new_nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Gives a new shim its order, and waits for its one answer.
pub(super) async fn ask(socket: &mut UnixStream, order: &Order, limit: Duration) -> io::Result<Reply> {
    let line = wire::line(order)?;
    tokio::time::timeout(limit, talk(socket, &line)).await.unwrap_or_else(|late| Err(late.into()))
}

/// What the system said to a shim.
pub(super) fn said(error: String, errno: Option<i32>) -> io::Error {
    errno.map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error)
}

async fn talk(socket: &mut UnixStream, line: &[u8]) -> io::Result<Reply> {
    socket.write_all(line).await?;
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') {
        if socket.read_buf(&mut answer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shim ended without an answer"));
        }
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// Tells a shim, and waits until it has written down that it was told. One that ends instead was not in need of it.
async fn tell(dir: &InstanceDir, line: &[u8]) -> io::Result<()> {
    let mut socket = slot::connect(dir).await?;
    socket.write_all(line).await?;
    socket.read(&mut [0]).await.map(drop)
}
