//! Writing to standard output, and beside it. A reader that has gone (`mesh ps | head -1`) is no failure; everything else that keeps a result from being
//! written is.
use std::{
    io::{self, ErrorKind, Write},
    os::fd::{AsFd, OwnedFd},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::exit::{Failure, Result};

/// Prints text as it is.
pub fn print(text: &str) -> Result {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(failure(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line.
pub fn print_line(text: &str) -> Result {
    print(&format!("{text}\n"))
}

/// Says something on standard error, each line with the program's name before it; there is nobody to tell where that takes no more.
pub fn complain(name: &str, text: &str) {
    let lines: String = text.lines().flat_map(|line| [name, ": ", line, "\n"]).collect();
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// Says something beside the result, as it is.
pub fn remark(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Standard output took no more.
pub fn failure(error: io::Error) -> Failure {
    Failure::from(error).context("standard output")
}

/// Ends when the reader of standard output has gone, whether or not anything is written; never where there is none to go (a file).
pub async fn reader_gone() {
    let watched = io::stdout().as_fd().try_clone_to_owned().and_then(watch);
    match watched {
        // It is asked for nothing but errors, and a pipe has one only when its other end is closed.
        Ok(out) if out.ready(Interest::ERROR).await.is_ok() => {}
        Ok(_) | Err(_) => std::future::pending().await,
    }
}

#[expect(deprecated, reason = "tokio's new constructor is unsafe because not every type keeps its descriptor open; an OwnedFd does")]
fn watch(out: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(out, Interest::ERROR)
}
