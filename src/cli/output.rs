//! Writing to standard output. A reader that has gone (`mesh ps | head -1`) is no failure.
use std::io::{ErrorKind, Write};

use super::exit::Result;

/// Prints text as it is.
pub fn print(text: &str) -> Result {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line.
pub fn print_line(text: &str) -> Result {
    print(&format!("{text}\n"))
}
