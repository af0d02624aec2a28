//! What the backend keeps in memory of each instance while it watches the connection to its shim. One slot per uid, one action or look at a time on it.
use std::{
    collections::HashMap,
    io,
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::{Mode, OFlags};
use tokio::{net::UnixStream, process::Child, time::Instant};

use super::{Inner, port::Look, strays::Strays};
use mesh_shim::{
    dir::{InstanceDir, SOCKET},
    record::Record,
};

/// The slots by uid.
#[derive(Debug, Default)]
pub(crate) struct Slots(Mutex<HashMap<String, Slot>>);

/// One instance's. Held over awaits on purpose: two starts of one instance must not overlap.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

impl Slots {
    /// The slot of a uid.
    pub(crate) fn of(&self, uid: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(uid.to_owned()).or_default())
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Forgets a slot that nobody but the caller holds.
    pub(crate) fn forget(&self, uid: &str, slot: &Slot) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(slot) == 2 {
            slots.remove(uid);
        }
    }
}

/// A running instance, whose connection to its shim is watched.
#[derive(Debug)]
pub(crate) struct Held {
    /// What the shim wrote down.
    pub record: Record,
    /// The last look at its port.
    pub look: Option<Look>,
    /// Those of its tree that nothing but the shim holds.
    pub strays: Strays,
    /// When the backend ends the tree itself, if the shim does not: set by a stop.
    pub overruled_at: Option<Instant>,
    ended: Arc<AtomicBool>,
}

impl Held {
    /// Whether the shim was still there when last heard of.
    pub(crate) fn lives(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
    }
}

/// Connects to a shim. The directory may lie deeper than a socket's address is long, so it is named by its descriptor.
pub(crate) async fn connect(dir: &InstanceDir) -> io::Result<UnixStream> {
    let handle = rustix::fs::open(dir.path(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address: PathBuf = format!("/proc/self/fd/{}/{SOCKET}", handle.as_raw_fd()).into();
    UnixStream::connect(address).await
}

impl Inner {
    /// Keeps the connection and watches for its end. `shim` is reaped by whoever started it.
    pub(crate) fn hold(self: &Arc<Self>, record: Record, socket: UnixStream, shim: Option<Child>) -> Held {
        self.watch();
        let ended = Arc::new(AtomicBool::new(false));
        let held = Held { record, look: None, strays: Strays::default(), overruled_at: None, ended: Arc::clone(&ended) };
        let (inner, key) = (Arc::clone(self), held.record.key.clone());
        self.shutdown.spawn_work(async move {
            tokio::select! {
                () = inner.shutdown.triggered() => return,
                () = end_of(&socket) => {}
            }
            if let Some(mut shim) = shim {
                // Its status says nothing that exit.json does not.
                let _ = shim.wait().await;
            }
            ended.store(true, Ordering::Release);
            inner.subscribers.tell(&key);
        });
        held
    }
}

async fn end_of(socket: &UnixStream) {
    let mut sink = [0_u8; 64];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut sink) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}
