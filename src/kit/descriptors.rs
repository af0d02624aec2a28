//! File descriptors: how many this process may have. The soft limit is for programs that use select(2), which cannot have more than 1024; this one raises it to
//! the hard limit at its start, and gives each program that it starts the one that it was given (as systemd advises: systemd.exec(5), `LimitNOFILE=`).
use std::{io, sync::OnceLock};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

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
