//! A place in a container's log, by which it is taken up again after a break: the engine is asked from a whole second on, so what was given of
//! that second is counted.

/// The place behind the last line that was given.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The time of that line, as written.
    time: Vec<u8>,
    /// How many lines of that time were given.
    given: usize,
    /// How many of them still come again.
    again: usize,
}

/// The time that a line begins with.
pub(super) fn time(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b' ').next().unwrap_or_default()
}

impl Cursor {
    /// Whether a line was not given yet; it is taken to be given from now on.
    pub(super) fn is_new(&mut self, line: &[u8]) -> bool {
        let time = time(line);
        if time != self.time.as_slice() {
            if self.again > 0 && time < self.time.as_slice() {
                return false;
            }
            *self = Self { time: time.to_owned(), given: 1, again: 0 };
            return true;
        }
        if self.again > 0 {
            self.again -= 1;
            return false;
        }
        self.given += 1;
        true
    }

    /// From which second on to ask again; what was given of it is left out then. None if nothing was given.
    pub(super) fn resume(&mut self) -> Option<i64> {
        self.again = self.given;
        Some(std::str::from_utf8(&self.time).ok()?.parse::<jiff::Timestamp>().ok()?.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_break_each_line_is_given_once() {
        let all = [
            "2026-11-21T09:00:01Z a",
            "2026-11-21T09:00:02Z b",
            "2026-11-21T09:00:02Z b",
            "2026-11-21T09:00:02Z c",
            "2026-11-21T09:00:03Z d",
        ];
        for cut in 0..=all.len() {
            let mut cursor = Cursor::default();
            let mut given: Vec<&str> = all.iter().take(cut).filter(|line| cursor.is_new(line.as_bytes())).copied().collect();
            let from = cursor.resume();
            let at = |line: &str| line.split(' ').next().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
            given.extend(all.iter().filter(|line| from.is_none_or(|from| at(line) >= from)).filter(|line| cursor.is_new(line.as_bytes())));
            assert_eq!(given, all, "cut at {cut}");
        }
    }
}
