//! Looks at instances: from memory while the connection to the shim stands, else from what the shim wrote down.
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{
    Inner, port,
    slot::{self, Held},
    system,
};
use crate::Error;
use mesh_base::exhausted::{is_exhausted, seen};
use mesh_kit::clock;
use mesh_plan::instance::{Exit, ExitHow, InstanceKey, Observed, PortOwner, Running};
use mesh_shim::{
    dir::{EXIT, InstanceDir, RECORD},
    record::{self, ExitRecord, Record},
    tree,
};

/// How long a shim may take between taking its lock and answering, or between its last word and its end.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(2);

impl Inner {
    pub(crate) async fn observe(self: &Arc<Self>, key: &InstanceKey) -> Result<Observed, Error> {
        let slot = self.slots.of(&key.uid);
        let observed = self.look(key, &mut *slot.lock().await).await;
        if matches!(observed, Ok(Observed::Absent | Observed::Exited(_))) {
            self.slots.forget(&key.uid, &slot);
        }
        observed
    }

    /// Looks at one instance, whose slot the caller holds.
    pub(crate) async fn look(self: &Arc<Self>, key: &InstanceKey, slot: &mut Option<Held>) -> Result<Observed, Error> {
        if slot.as_ref().is_some_and(|held| !held.lives()) {
            *slot = None;
        }
        if slot.is_none() {
            match self.find(key).await? {
                Found::Shim(held) => *slot = Some(*held),
                Found::Exited(exit) => return Ok(Observed::Exited(exit)),
                Found::Nothing => return Ok(Observed::Absent),
            }
        }
        Ok(slot.as_mut().map_or(Observed::Absent, |held| self.running(held)))
    }

    fn running(&self, held: &mut Held) -> Observed {
        let (address, port_owner) = match held.record.port {
            None => (None, PortOwner::NoPort),
            Some(port) => self.look_at_port(held, port),
        };
        Observed::Running(Running {
            attempt: held.record.attempt,
            pid: held.record.child.and_then(|child| u32::try_from(child.pid).ok()).unwrap_or_default(),
            since: held.record.since,
            stopping: held.record.stopping.is_some(),
            address,
            port_owner,
            image: None,
        })
    }

    /// A look that fails on our side leaves what is known as it was.
    fn look_at_port(&self, held: &mut Held, port: u16) -> (Option<SocketAddr>, PortOwner) {
        if let Err(error) = self.look_again(held, port)
            && held.look.is_none()
        {
            return (Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))), PortOwner::Unknown(error.to_string()));
        }
        (held.look.as_ref().map(|look| look.address), held.look.as_ref().map_or(PortOwner::Nobody, |look| look.owner.clone()))
    }

    /// Looks whether the sockets on the port are those that were found to be the instance's, and whose they are if not.
    fn look_again(&self, held: &mut Held, port: u16) -> io::Result<()> {
        let listeners = self.listening.on(port)?;
        if held.look.as_ref().is_some_and(|look| look.owner == PortOwner::Ours && look.listeners == listeners) {
            return Ok(());
        }
        let mut look = port::look(port, listeners, tree::descendants(held.record.shim.pid)?)?;
        if let (PortOwner::Nobody, Some(before)) = (&look.owner, &held.look) {
            look.address = before.address;
        }
        held.look = Some(look);
        Ok(())
    }

    /// Whether another one has a held instance's port now than when it was looked at last.
    pub(crate) fn has_changed_hands(&self, held: &mut Held) -> bool {
        let (Some(port), Some(before)) = (held.record.port, held.look.clone()) else { return false };
        let same = self.listening.on(port).is_ok_and(|listeners| listeners == before.listeners);
        !same && self.look_again(held, port).is_ok() && held.look.as_ref().is_some_and(|look| look.owner != before.owner)
    }

    async fn find(self: &Arc<Self>, key: &InstanceKey) -> Result<Found, Error> {
        let dir = self.dir(key)?;
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.find_once(key, &dir).await? {
                return Ok(found);
            }
            if tokio::time::Instant::now() > give_up {
                let error = io::Error::new(io::ErrorKind::TimedOut, "its shim lives but does not answer");
                return Err(system("look at", dir.path())(error));
            }
            // A shim is between its lock and its socket, or between its socket and its end: microseconds, and nothing to wait on.
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn find_once(self: &Arc<Self>, key: &InstanceKey, dir: &InstanceDir) -> Result<Option<Found>, Error> {
        // A shim writes its record while it has the lock: if the lock is free after the record was read, the one who wrote it is dead.
        let look_at = || system("look at", dir.path());
        let before = read_record(dir).map_err(look_at())?;
        let lives = dir.shim_lives().map_err(look_at())?;
        let socket = if lives { seen(slot::connect(dir).await).map_err(look_at())? } else { None };
        // A record that was there before may be of the start before this one; what is there after the connection was made is of this one.
        let record = if lives { read_record(dir).map_err(look_at())? } else { before };
        let Some(record) = record else { return Ok((!lives).then_some(Found::Nothing)) };
        if let Some(exit) = read_exit(dir, &record).map_err(look_at())? {
            return Ok(Some(Found::Exited(exit)));
        }
        match (lives, socket) {
            (false, _) => Ok(Some(Found::Exited(self.end_unheld(key, dir, &record).await?))),
            (true, Some(socket)) if record.child.is_some() => {
                Ok(Some(Found::Shim(Box::new(self.hold(Record { key: key.clone(), ..record }, socket, None)))))
            }
            (true, _) => Ok(None),
        }
    }

    /// The shim is gone without a word: ends what it held, and writes down that nobody knows how it ended.
    async fn end_unheld(&self, key: &InstanceKey, dir: &InstanceDir, record: &Record) -> Result<Exit, Error> {
        tracing::warn!(instance = %key, pid = record.child.map(|child| child.pid), "the shim is gone; ending what is left of the instance");
        self.rescue(key, record, dir).await.map_err(system("end what is left of", dir.path()))?;
        let exit = Exit { attempt: record.attempt, since: record.since, at: clock::now(), how: ExitHow::Unknown };
        let written = ExitRecord { nonce: record.nonce.clone(), exit: exit.clone(), lost_lines: 0 };
        record::write(&dir.file(EXIT), &written).map_err(system("write the exit of", dir.path()))?;
        Ok(exit)
    }

    pub(crate) async fn list(self: &Arc<Self>) -> Result<Vec<InstanceKey>, Error> {
        let entries = std::fs::read_dir(&self.instances).map_err(system("list", &self.instances))?;
        let mut keys = Vec::new();
        for uid in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            let Ok(dir) = InstanceDir::new(&self.instances, &uid) else { continue };
            match record::read::<Record>(&dir.file(RECORD)) {
                Ok(Some(record)) if record.key.uid == uid => keys.push(record.key),
                Ok(Some(_)) => tracing::warn!(dir = %dir.path().display(), "the record speaks of another instance; remove the directory"),
                Ok(None) => self.sweep(&uid, &dir).await?,
                Err(error) if is_exhausted(&error) => return Err(system("look at", dir.path())(error)),
                Err(error) => tracing::warn!(dir = %dir.path().display(), %error, "the record cannot be read; remove the directory"),
            }
        }
        Ok(keys)
    }

    /// Removes what a start left that never came to its record.
    async fn sweep(&self, uid: &str, dir: &InstanceDir) -> Result<(), Error> {
        let slot = self.slots.of(uid);
        let held = slot.lock().await;
        let idle = held.is_none() && !dir.shim_lives().map_err(system("look at", dir.path()))?;
        if idle && !dir.file(RECORD).exists() {
            dir.remove().map_err(system("remove", dir.path()))?;
        }
        drop(held);
        self.slots.forget(uid, &slot);
        Ok(())
    }
}

/// What was found on disk.
enum Found {
    Shim(Box<Held>),
    Exited(Exit),
    Nothing,
}

/// A record that cannot be read names nobody, so it is as good as none: nothing is signalled for it, and the next start writes a new one.
fn read_record(dir: &InstanceDir) -> io::Result<Option<Record>> {
    let read = record::read(&dir.file(RECORD)).inspect_err(|error| {
        tracing::warn!(dir = %dir.path().display(), %error, "the record cannot be read; what it spoke of, if it lives, is left alone");
    });
    Ok(seen(read)?.flatten())
}

fn read_exit(dir: &InstanceDir, record: &Record) -> io::Result<Option<Exit>> {
    let exit: Option<ExitRecord> = seen(record::read(&dir.file(EXIT)))?.flatten();
    Ok(exit.filter(|exit| exit.nonce == record.nonce).map(|exit| exit.exit))
}
