//! What the kernel says of a container's processes. The engine's word alone is not enough: where conmon was killed it says "running" for ever.
use std::fs;

use mesh_shim::identity::{self, Stat};

/// Whether a process lives and is of this container: in its control group or, where it has none (a user's engine on cgroup v1), held by its conmon.
pub(super) fn is_of(pid: i32, container: &str) -> bool {
    let member = || fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(container));
    let of = |stat: Stat| stat.lives() && (member() || holds(stat.parent, container));
    pid > 0 && !container.is_empty() && Stat::of(pid).is_some_and(of)
}

/// Whether a process is the one that holds this container (its conmon).
pub(super) fn holds(pid: i32, container: &str) -> bool {
    let names = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(container));
    Stat::of(pid).is_some_and(|stat| stat.lives()) && names()
}

/// Sends SIGKILL to a process if it is of this container.
pub(crate) fn kill(pid: i32, container: &str) {
    // Held first, checked after: from here on the id cannot become another's.
    if let Some(hold) = identity::hold(pid)
        && is_of(pid, container)
    {
        identity::kill(&hold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_of_no_container() {
        let me = rustix::process::getpid().as_raw_nonzero().get();
        assert!(!is_of(me, "0123456789abcdef") && !is_of(me, "") && !is_of(0, "/") && !holds(me, "0123456789abcdef"));
    }
}
