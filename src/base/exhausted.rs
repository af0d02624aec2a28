//! What fails because this process or the machine has run out of something says nothing about what was being looked at.
use std::io;

use rustix::io::Errno;

/// Descriptors, memory, processes, local ports.
const RUN_OUT: [Errno; 6] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN, Errno::ADDRNOTAVAIL];

/// Whether an error is of that kind.
pub fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| RUN_OUT.contains(&Errno::from_raw_os_error(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_that_are_used_up_are_ours_and_a_refused_connection_is_not() {
        let of = |errno: Errno| is_exhausted(&io::Error::from(errno));
        assert!(of(Errno::MFILE) && of(Errno::NOMEM) && of(Errno::ADDRNOTAVAIL));
        assert!(!of(Errno::CONNREFUSED) && !of(Errno::NOENT) && !is_exhausted(&io::Error::other("no answer")));
    }
}
