//! What fails because this process or the machine has run out of something says nothing about what was being looked at.
use std::io;

use rustix::io::Errno;

/// Descriptors, memory, processes, local ports.
const RUN_OUT: [Errno; 6] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN, Errno::ADDRNOTAVAIL];

/// Whether an error is of that kind.
pub fn is_exhausted(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| RUN_OUT.contains(&Errno::from_raw_os_error(errno)))
}

/// What a look has found; none of what is gone, or not ours to see.
///
/// # Errors
/// Something was used up: nothing was seen at all, and nothing may be concluded.
pub fn seen<T>(look: io::Result<T>) -> io::Result<Option<T>> {
    match look {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_exhausted(&error) => Err(error),
        Err(_) => Ok(None),
    }
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

    #[test]
    fn what_could_not_be_looked_at_is_not_absent() {
        let look = |errno: Errno| seen::<()>(Err(errno.into()));
        assert!(look(Errno::MFILE).is_err());
        assert_eq!((look(Errno::NOENT).unwrap(), look(Errno::ACCESS).unwrap(), seen(Ok(())).unwrap()), (None, None, Some(())));
    }
}
