//! Ends an instance whose shim does not: one that is stopped, or stuck, and could be so for ever. While that shim is there it still is the reaper of
//! all below it, so its tree is ended first, and then the shim.
use std::{io, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Inner, slot::Held};
use mesh_plan::instance::InstanceKey;
use mesh_shim::{
    cgroup, identity,
    record::{Containment, Record},
    tree,
};

/// A shim that heeded a stop ends the tree itself at the end of the grace, and takes this long at most.
pub(crate) const SLACK: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
const ROUNDS: usize = 1000;
/// Until what failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Inner {
    /// Sees to it that the instance is ended then, whatever its shim does. A later call can only make that sooner.
    pub(crate) fn overrule_at(self: &Arc<Self>, held: &mut Held, at: Option<Instant>) {
        let Some(at) = at.filter(|at| held.overruled_at.is_none_or(|before| *at < before)) else { return };
        held.overruled_at = Some(at);
        let (inner, record) = (Arc::clone(self), held.record.clone());
        self.shutdown.spawn_work(async move {
            let slot = inner.slots.of(&record.key.uid);
            tokio::select! {
                () = inner.shutdown.triggered() => return,
                () = tokio::time::sleep_until(at) => {}
            }
            // What is found by then may be another start, or nothing.
            let still = slot.lock().await.as_ref().is_some_and(|held| held.lives() && held.record.nonce == record.nonce);
            if still {
                tracing::warn!(instance = %record.key, shim = record.shim.pid, "its shim does not end it in time, so it is killed, and the shim with it");
                while let Err(error) = inner.overrule(&record).await {
                    tracing::warn!(instance = %record.key, %error, "it cannot be killed; it is tried again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
            inner.slots.forget(&record.key.uid, &slot);
        });
    }

    /// Fails where something was used up: then it may live.
    async fn overrule(&self, record: &Record) -> io::Result<()> {
        let Some(shim) = identity::hold(record.shim.pid)? else { return Ok(()) };
        if !identity::lives(&record.shim)? {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            if let (Containment::Cgroup, Some(group)) = (record.containment, &record.cgroup) {
                cgroup::kill(group);
            }
            if tree::kill_below(record.shim.pid)? == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // The end of the connection says "look again", and whoever looks then finds the lock free.
        identity::kill(&shim);
        Ok(())
    }
}

/// Tells the program itself to end, in place of a shim that does not answer. Whether there was one to tell.
pub(crate) fn tell_program(key: &InstanceKey, record: &Record) -> io::Result<bool> {
    let told = record.child.as_ref().map_or(Ok(false), identity::terminate)?;
    tracing::warn!(instance = %key, shim = record.shim.pid, told, "its shim does not answer: the program is told to end by a signal of our own");
    Ok(told)
}
