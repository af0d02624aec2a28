//! Ends what a killed shim left behind. The one place where the backend itself signals processes, and therefore suspicious of every word in the
//! record: what is not provably the instance's is never signalled.
use std::{io, time::Duration};

use tokio::process::Child;

use super::{Inner, strays};
use mesh_plan::instance::InstanceKey;
use mesh_shim::{
    cgroup,
    dir::InstanceDir,
    identity,
    record::{Containment, Record},
    tree,
};

/// A nonce shorter than this was not made here.
const LEAST_NONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(5);
const ROUNDS: usize = 1000;

impl Inner {
    /// Kills the record's tree, if it is of this boot and of this instance, and waits until it is gone. Fails where something was used up: then some of it may live.
    pub(crate) async fn rescue(&self, key: &InstanceKey, record: &Record, dir: &InstanceDir) -> io::Result<()> {
        let ours = record.key.uid == key.uid && record.boot_id == self.boot_id && record.nonce.len() >= LEAST_NONCE;
        // A shim that lives while its lock here is free holds it in another directory: this one is a copy of the state directory.
        if !ours || identity::lives(&record.shim)? {
            return Ok(());
        }
        let strays = strays::of(record, dir)?;
        for _ in 0..ROUNDS {
            let strays: usize = strays.iter().map(tree::kill_identified).sum::<io::Result<_>>()?;
            if strays + self.kill_once(record)? == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        for _ in 0..ROUNDS {
            if own_cgroup(record).is_none_or(cgroup::remove) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        warn_of_unproven(key, record)
    }

    /// Ends a shim that did not answer, and all that it has started.
    pub(crate) async fn end_shim(&self, shim: &mut Child, nonce: &str) {
        let pid = shim.id().and_then(|pid| i32::try_from(pid).ok());
        let group = self.cgroup.as_ref().map(|delegated| delegated.join(format!("mesh-{nonce}")));
        for _ in 0..ROUNDS {
            if let Some(group) = &group {
                cgroup::kill(group);
            }
            // It is not waited for yet, so its process id is its own.
            if pid.map_or(Ok(0), tree::kill_below).is_ok_and(|below| below == 0) && is_gone(nonce) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // It may have gone meanwhile.
        let _ = shim.kill().await;
        while !is_gone(nonce) {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(group) = group {
            cgroup::remove(&group);
        }
    }

    fn kill_once(&self, record: &Record) -> io::Result<usize> {
        if let Some(group) = own_cgroup(record)
            && record.containment == Containment::Cgroup
        {
            cgroup::kill(group);
        }
        let mut killed = tree::kill_marked(&record.nonce)?;
        // Below and in the session first: once the program is dead its children have another parent.
        if let Some((pid, hold)) = identity::verified_child(record, &self.boot_id)? {
            killed += 1 + tree::kill_below(pid)? + tree::kill_session(record.shim.pid)?;
            identity::kill(&hold);
        }
        Ok(killed)
    }
}

/// Kills whoever carries the nonce, and says whether nobody was seen to.
fn is_gone(nonce: &str) -> bool {
    tree::kill_marked(nonce).is_ok_and(|killed| killed == 0)
}

/// A process that has the record's id and start time but does not carry its nonce: left alone, but not in silence.
fn warn_of_unproven(key: &InstanceKey, record: &Record) -> io::Result<()> {
    if let Some(child) = record.child
        && identity::lives(&child)?
    {
        let pid = child.pid;
        tracing::error!(instance = %key, pid, "its shim is gone and this process cannot be proven to be its program; if it is, end it by hand");
    }
    Ok(())
}

/// The group that the record names, if its name is the one that a shim gives.
fn own_cgroup(record: &Record) -> Option<&std::path::Path> {
    let group = record.cgroup.as_deref()?;
    (group.file_name()? == format!("mesh-{}", record.nonce).as_str()).then_some(group)
}
