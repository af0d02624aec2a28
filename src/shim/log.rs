//! The log of an instance, in the CRI format that `kubectl logs` tools know: `<RFC 3339 time> <stdout|stderr> <F|P> <bytes>`, a line each;
//! `P` is a part of a line that goes on in the next one of the same stream.
pub mod writer;

use std::io::Write;

use jiff::Timestamp;

/// A longer line is written in parts of this many bytes.
pub const PART: usize = 16 * 1024;
/// What stands before the bytes of a line, at most.
const HEAD: usize = 64;
/// A log file can always hold one line.
pub const LEAST_BYTES: u64 = (PART + HEAD) as u64;

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Appends one line, or part of one, to a buffer.
fn format_line(buffer: &mut Vec<u8>, at: Timestamp, stream: Stream, full: bool, bytes: &[u8]) {
    let tag = if full { "F" } else { "P" };
    // Writing into a Vec cannot fail.
    let _ = write!(buffer, "{at:.9} {} {tag} ", stream.name());
    buffer.extend_from_slice(bytes);
    buffer.push(b'\n');
}

/// One line of a log file, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was read from the program, as written.
    pub at: &'a str,
    /// From which stream.
    pub stream: &'a str,
    /// Whether the program's line ends here.
    pub full: bool,
    /// What the program wrote.
    pub bytes: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes a line (without its newline) apart; none if it is not in the format.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(4, |byte| *byte == b' ');
        let at = std::str::from_utf8(fields.next()?).ok()?;
        let stream = std::str::from_utf8(fields.next()?).ok()?;
        let full = match fields.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { at, stream, full, bytes: fields.next()? })
    }

    /// When it was read from the program.
    pub fn time(&self) -> Option<Timestamp> {
        self.at.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_out_as_it_went_in_whatever_its_bytes() {
        let at: Timestamp = "2026-11-21T09:00:00.000000001Z".parse().unwrap();
        for bytes in [&b"hello world"[..], b"", b" F ", b"\xff\0\x1b[31m"] {
            let mut buffer = Vec::new();
            format_line(&mut buffer, at, Stream::Stderr, false, bytes);
            let line = Line::parse(buffer.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!(line, Line { at: "2026-11-21T09:00:00.000000001Z", stream: "stderr", full: false, bytes });
            assert_eq!(line.time(), Some(at));
        }
    }

    #[test]
    fn what_is_not_a_log_line_is_none() {
        for line in [&b""[..], b"x", b"x y z", b"x y z w"] {
            assert_eq!(Line::parse(line), None);
        }
    }
}
