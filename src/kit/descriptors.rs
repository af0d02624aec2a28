//! File descriptors: how many this process may have. The soft limit is for programs that use select(2), which cannot have more than 1024; this one raises it to
//! the hard limit at its start, and gives each program that it starts the one that it was given (as systemd advises: systemd.exec(5), `LimitNOFILE=`).
use std::{io, sync::OnceLock};

use rustix::{
    event::{EventfdFlags, eventfd},
    process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit},
};

/// Such a port's part of the descriptors, and the bounds of it.
const SHARE: u64 = 32;
const SHARES: (usize, usize) = (8, 1000);

/// What the process was given, before it raised it.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit to the hard one. Called by the programs' tops, first of all.
///
/// # Errors
/// The system does not allow it; then the limit is as it was.
pub fn raise() -> io::Result<()> {
    let given = GIVEN.get_or_init(|| getrlimit(Resource::Nofile));
    setrlimit(Resource::Nofile, Rlimit { current: given.maximum, ..*given })?;
    Ok(())
}

/// How many this process may have now.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connections that a port beside the router's (the API's, the admin port) holds at the most, under a limit of descriptors: few of them, so that they leave enough for
/// instances, probes and the store.
pub fn share(limit: u64) -> usize {
    usize::try_from(limit / SHARE).map_or(SHARES.1, |share| share.clamp(SHARES.0, SHARES.1))
}

/// Whether so many more can be had now.
///
/// # Errors
/// What the system says if not.
pub fn spare(count: usize) -> io::Result<()> {
    let taken: Result<Vec<_>, _> = (0..count).map(|_| eventfd(0, EventfdFlags::CLOEXEC)).collect();
    Ok(taken.map(drop)?)
}

/// Gives a program that was just started the limit that this process was given itself.
///
/// # Errors
/// It has ended already, or is another user's.
pub fn give_back(pid: Pid) -> io::Result<()> {
    if let Some(given) = GIVEN.get() {
        prlimit(Some(pid), Resource::Nofile, *given)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_port_beside_the_routers_has_a_small_share_of_the_descriptors() {
        assert_eq!([64, 256, 1024, 524_288, u64::MAX].map(share), [8, 8, 32, 1000, 1000]);
    }

    #[test]
    fn a_program_that_is_started_gets_the_limit_that_was_given_to_this_one() {
        let given = getrlimit(Resource::Nofile);
        let less = given.maximum.map_or(512, |most| most.min(512));
        setrlimit(Resource::Nofile, Rlimit { current: Some(less), ..given }).unwrap();
        raise().unwrap();
        assert_eq!(Some(limit()), given.maximum);
        let mut child =
            Command::new("sh").args(["-c", "read go; ulimit -Sn"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        give_back(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()).unwrap();
        drop(child.stdin.take());
        let said = child.wait_with_output().unwrap().stdout;
        assert_eq!(String::from_utf8(said).unwrap().trim(), less.to_string());
    }
}
