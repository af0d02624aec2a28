//! Who a process is. A process id alone names nobody: it is used again. Nothing is signalled but through a pidfd that was opened before the
//! identity was checked, so that the check and the signal concern one and the same process.
//!
//! Whatever looks at processes here fails only where something was used up: then nothing was seen, which is not the same as nobody.
use std::{fs, io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal};

pub use super::record::Proc;
use super::record::{NONCE_VARIABLE, Record};
use mesh_base::exhausted::seen;

/// What `/proc/PID/stat` says of a process, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// One letter: `Z` is a zombie.
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// Its session: the process id of the one that called setsid.
    pub session: i32,
    /// Clock ticks from boot to its start.
    pub start: u64,
}

impl Stat {
    /// Reads it; none if there is no such process.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        let text = seen(fs::read_to_string(format!("/proc/{pid}/stat")))?;
        Ok(text.and_then(|text| Self::parse(&text)))
    }

    /// proc(5): the command stands in brackets and may itself hold brackets and spaces, so fields count from the last bracket.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, session, start })
    }

    /// Whether it still does something: neither a zombie nor dead.
    pub fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The identity of a process that runs now.
///
/// # Errors
/// There is none of this id; or something was used up.
pub fn identify(pid: i32) -> io::Result<Proc> {
    let stat = Stat::of(pid)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no process {pid}")))?;
    Ok(Proc { pid, start: stat.start })
}

/// Whether a process lives, and still is the one that was identified.
pub fn lives(process: &Proc) -> io::Result<bool> {
    Ok(Stat::of(process.pid)?.is_some_and(|stat| stat.lives() && stat.start == process.start))
}

/// The id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// A hold on one process, if it is there: whatever becomes of its process id, a signal goes to this one or to nobody.
pub fn hold(pid: i32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    seen(rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from))
}

/// SIGKILL through a hold; one that has ended already is as good.
pub fn kill(hold: &OwnedFd) {
    // The only errors are "ended" and "not permitted", and the caller looks again in both cases.
    let _ = rustix::process::pidfd_send_signal(hold, Signal::KILL);
}

/// SIGTERM to a process that still is the one that was identified; whether there was one to send it to.
pub fn terminate(process: &Proc) -> io::Result<bool> {
    let Some(hold) = hold(process.pid)? else { return Ok(false) };
    // Looked at after it is held: from here on the id cannot become another's.
    Ok(lives(process)? && rustix::process::pidfd_send_signal(&hold, Signal::TERM).is_ok())
}

/// What the environment that a process was started with says about whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It has this nonce.
    Ours,
    /// It is another's, or cannot be read.
    Other,
    /// Nothing that looks like an environment is there any more.
    Wiped,
}

fn mark(pid: i32, nonce: &str) -> io::Result<Mark> {
    let Some(environ) = seen(fs::read(format!("/proc/{pid}/environ")))? else { return Ok(Mark::Other) };
    let wanted = format!("{NONCE_VARIABLE}={nonce}");
    Ok(if environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()) {
        Mark::Ours
    } else if environ.contains(&b'=') {
        Mark::Other
    } else {
        Mark::Wiped
    })
}

/// Whether a process carries the nonce.
pub fn has_nonce(pid: i32, nonce: &str) -> io::Result<bool> {
    Ok(mark(pid, nonce)? == Mark::Ours)
}

/// The record's program, held, if it lives and is provably the one the record speaks of.
///
/// Beside boot, process id and start time it must carry the nonce. A program that wiped its environment (as one that changes its title does)
/// carries none; then it must still be in the session that the record's shim made.
pub fn verified_child(record: &Record, boot_id: &str) -> io::Result<Option<(i32, OwnedFd)>> {
    let Some(child) = record.child.filter(|_| record.boot_id == boot_id) else { return Ok(None) };
    let Some(hold) = hold(child.pid)? else { return Ok(None) };
    let Some(stat) = Stat::of(child.pid)? else { return Ok(None) };
    let ours = match mark(child.pid, &record.nonce)? {
        Mark::Ours => true,
        Mark::Other => false,
        Mark::Wiped => stat.session == record.shim.pid,
    };
    Ok((ours && stat.start == child.start && stat.lives()).then_some((child.pid, hold)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_and_spaces_does_not_shift_the_fields() {
        let text = "7 (a) b) (c) S 1 7 6 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 12345 1000 5";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'S', parent: 1, session: 6, start: 12345 }));
    }

    #[test]
    fn a_child_is_verified_by_the_whole_of_its_identity_and_by_nothing_less() {
        let nonce = "f00dfeedf00dfeedf00dfeedf00dfeed";
        let mut sleep = std::process::Command::new("sleep");
        let mut child = sleep.arg("60").env_clear().env(NONCE_VARIABLE, nonce).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // A spawn returns a moment before the new program's environment can be read.
        while fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty() {
            std::thread::yield_now();
        }
        let boot = boot_id().unwrap();
        let true_one = Record { child: Some(identify(pid).unwrap()), ..record(nonce, &boot) };
        assert_eq!(verified_child(&true_one, &boot).unwrap().unwrap().0, pid);
        let own = identify(rustix::process::getpid().as_raw_nonzero().get()).unwrap();
        let session = Stat::of(pid).unwrap().unwrap().session;
        let Proc { start, .. } = true_one.child.unwrap();
        let mut proven = Vec::new();
        for child in [pid, own.pid, session, 1, i32::MAX] {
            for start in [start, start + 1, own.start, 0] {
                for boot_id in [boot.as_str(), "another", ""] {
                    for nonce in [nonce, "f00d", ""] {
                        for shim in [1, session, pid, own.pid] {
                            let child = Some(Proc { pid: child, start });
                            let (boot_id, nonce, shim) = (boot_id.to_owned(), nonce.to_owned(), Proc { pid: shim, start: 1 });
                            let forged = Record { nonce, boot_id, shim, child, ..true_one.clone() };
                            proven.extend(verified_child(&forged, &boot).unwrap().map(|_| Record { shim: true_one.shim, ..forged }));
                        }
                    }
                }
            }
        }
        assert!(!proven.is_empty() && proven.iter().all(|record| *record == true_one), "only what is true but for the shim: {proven:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(verified_child(&true_one, &boot).unwrap().is_none());
    }

    fn record(nonce: &str, boot_id: &str) -> Record {
        let key = crate::instance::InstanceKey { namespace: "default".into(), name: "web".into(), uid: "1".into() };
        Record {
            key,
            attempt: 0,
            port: None,
            nonce: nonce.into(),
            boot_id: boot_id.into(),
            shim: Proc { pid: 1, start: 1 },
            child: None,
            since: mesh_base::clock::now(),
            containment: crate::record::Containment::Subreaper,
            cgroup: None,
            stopping: None,
        }
    }

    #[test]
    fn this_process_is_found_and_is_not_marked() {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(identify(pid).unwrap().pid, pid);
        assert!(!has_nonce(pid, "x").unwrap());
        assert!(identify(i32::MAX).is_err());
    }
}
