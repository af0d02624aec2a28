//! A file descriptor whose readiness can be awaited: a pidfd, an inotify queue.
use std::{io, os::fd::OwnedFd};

use tokio::io::unix::AsyncFd;

/// Puts it under the runtime's eye.
#[expect(deprecated, reason = "tokio's new constructor is unsafe because not every type keeps its descriptor open; an OwnedFd does")]
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}
