//! The parts of long lines made one again, each stream's for itself: parts of the other stream may stand between them. Pure.
use mesh_shim::log::Line;

/// A line that is still longer is given before its end, and goes on in what is given next.
pub(super) const LONGEST: usize = 1 << 20;

/// What of the lines was not given yet.
#[derive(Debug, Default)]
pub(super) struct Gather {
    timestamps: bool,
    /// The beginnings of lines, by stream.
    begun: Vec<Begun>,
    /// The stream whose line was given without its end, if nothing was given since.
    open: Option<String>,
}

#[derive(Debug)]
struct Begun {
    stream: String,
    /// When its last part was written: lines are in the order of their ends.
    at: String,
    bytes: Vec<u8>,
}

impl Gather {
    /// With or without the time before each line.
    pub(super) fn new(timestamps: bool) -> Self {
        Self { timestamps, ..Self::default() }
    }

    /// Takes a line or a part of one; puts what is whole behind `out`.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, line: &Line<'_>) {
        let mut begun = match self.begun.iter().position(|begun| begun.stream == line.stream) {
            Some(place) => self.begun.swap_remove(place),
            None => Begun { stream: line.stream.to_owned(), at: String::new(), bytes: Vec::new() },
        };
        line.at.clone_into(&mut begun.at);
        begun.bytes.extend_from_slice(line.bytes);
        if line.full || begun.bytes.len() > LONGEST {
            self.give(out, &begun);
            self.open = if line.full { None } else { Some(begun.stream) };
            if line.full {
                out.push(b'\n');
            }
        } else {
            self.begun.push(begun);
        }
    }

    /// What there is of lines whose end was not written; the last of them goes on where it ends.
    pub(super) fn rest(&mut self, out: &mut Vec<u8>) {
        for begun in std::mem::take(&mut self.begun) {
            self.give(out, &begun);
            self.open = Some(begun.stream);
        }
    }

    fn give(&mut self, out: &mut Vec<u8>, begun: &Begun) {
        let goes_on = self.open.as_deref() == Some(begun.stream.as_str());
        // The line of the other stream is cut here; otherwise both would be one.
        if self.open.is_some() && !goes_on {
            out.push(b'\n');
        }
        if self.timestamps && !goes_on {
            out.extend_from_slice(begun.at.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(&begun.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(timestamps: bool, lines: &[(&str, &str, bool, &str)]) -> String {
        let (mut gather, mut out) = (Gather::new(timestamps), Vec::new());
        for (at, stream, full, bytes) in lines {
            gather.take(&mut out, &Line { at, stream, full: *full, bytes: bytes.as_bytes() });
        }
        gather.rest(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_long_line_stays_whole_though_the_other_stream_writes_between_its_parts() {
        let lines = [
            ("t1", "stdout", false, "one, "),
            ("t2", "stderr", true, "two"),
            ("t3", "stdout", false, "still one, "),
            ("t4", "stdout", true, "end"),
        ];
        assert_eq!(given(false, &lines), "two\none, still one, end\n");
        assert_eq!(given(true, &lines), "t2 two\nt4 one, still one, end\n");
    }

    #[test]
    fn what_has_no_end_yet_is_given_at_last_each_on_a_line_of_its_own() {
        let lines = [("t1", "stdout", false, "out"), ("t2", "stderr", false, "err"), ("t3", "stdout", false, "put")];
        assert_eq!(given(true, &lines), "t2 err\nt3 output");
    }

    #[test]
    fn a_line_without_measure_is_given_in_pieces_that_are_one_line() {
        let part = "x".repeat(LONGEST / 2);
        let lines = [
            ("t1", "stdout", false, part.as_str()),
            ("t2", "stdout", false, part.as_str()),
            ("t3", "stdout", false, "y"),
            ("t4", "stdout", true, "z"),
            ("t5", "stdout", true, "next"),
        ];
        assert_eq!(given(true, &lines), format!("t3 {part}{part}yz\nt5 next\n"));
        let lines = [
            ("t1", "stdout", false, part.as_str()),
            ("t2", "stdout", false, part.as_str()),
            ("t3", "stdout", false, "y"),
            ("t4", "stderr", true, "other"),
            ("t5", "stdout", true, "z"),
        ];
        assert_eq!(given(true, &lines), format!("t3 {part}{part}y\nt4 other\nt5 z\n"));
    }
}
