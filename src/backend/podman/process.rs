//! What the kernel says of a container's processes. The engine's word alone is not enough: where conmon was killed it says "running" for ever.
//! Fails only where something was used up: then nothing was seen.
use std::{fs, io};

use mesh_base::exhausted::seen;
use mesh_shim::identity::{self, Stat};

/// Whether a process lives and is of this container: in its control group or, where it has none (a user's engine on cgroup v1), held by its conmon.
pub(super) fn is_of(pid: i32, container: &str) -> io::Result<bool> {
    if pid <= 0 || container.is_empty() {
        return Ok(false);
    }
    let Some(stat) = Stat::of(pid)?.filter(Stat::lives) else { return Ok(false) };
    let group = seen(fs::read_to_string(format!("/proc/{pid}/cgroup")))?;
    Ok(group.is_some_and(|group| group.contains(container)) || holds(stat.parent, container)?)
}

/// Whether a process is the one that holds this container (its conmon).
pub(super) fn holds(pid: i32, container: &str) -> io::Result<bool> {
    if !Stat::of(pid)?.is_some_and(|stat| stat.lives()) {
        return Ok(false);
    }
    let command = seen(fs::read(format!("/proc/{pid}/cmdline")))?;
    Ok(command.is_some_and(|text| String::from_utf8_lossy(&text).contains(container)))
}

/// Sends SIGKILL to a process if it is of this container.
pub(crate) fn kill(pid: i32, container: &str) -> io::Result<()> {
    // Held first, checked after: from here on the id cannot become another's.
    if let Some(hold) = identity::hold(pid)?
        && is_of(pid, container)?
    {
        identity::kill(&hold);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_of_no_container() {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let of = [is_of(me, "0123456789abcdef"), is_of(me, ""), is_of(0, "/"), holds(me, "0123456789abcdef")];
        assert_eq!(of.map(Result::unwrap), [false; 4]);
    }
}
