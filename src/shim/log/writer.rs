//! Writes a program's output into log files that rotate. Never fails: what cannot be written is dropped and counted, because a full disk must
//! not stop the program. Nor does it fill the disk: where little room is left, a log keeps its newest lines only, so that whoever else writes there
//! (the controller's store) still can.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use jiff::Timestamp;

use super::{LEAST_BYTES, PART, Stream, format_line};
use crate::instance::LogLimits;

/// So much is brought to the file at once: a flood of empty lines grows by its heads.
const COLLECTED: usize = 64 * 1024;

/// So much of the disk is left to others, but not more than [`RESERVE`].
const RESERVE_SHARE: u64 = 20;
const RESERVE: u64 = 256 << 20;
/// What is kept where less is left.
const SCARCE: LogLimits = LogLimits { max_bytes: 512 << 10, max_files: 2 };
/// So much is written between two looks at the disk.
const BETWEEN_LOOKS: u64 = 64 << 10;

/// The log of one instance, open for writing.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    limits: LogLimits,
    /// Little room is left on the disk.
    scarce: bool,
    /// That is to be said in the log.
    tell: bool,
    /// So much was written since the last look at it.
    unseen: u64,
    file: Option<File>,
    size: u64,
    /// Lines dropped since the last one that could be written.
    dropped: u64,
    /// All lines ever dropped.
    lost: u64,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Goes on with the log at `path`, or begins it.
    pub fn open(path: PathBuf, limits: LogLimits) -> Self {
        let limits = LogLimits { max_bytes: limits.max_bytes.max(LEAST_BYTES), max_files: limits.max_files.max(1) };
        let mut log =
            Self { path, limits, scarce: false, tell: false, unseen: 0, file: None, size: 0, dropped: 0, lost: 0, buffer: Vec::new() };
        // If it cannot be opened now, the first line tries again.
        let _ = log.reopen();
        log
    }

    /// How many lines could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes one line or part of a line.
    fn line(&mut self, at: Timestamp, stream: Stream, full: bool, bytes: &[u8]) {
        let before = self.buffer.len();
        format_line(&mut self.buffer, at, stream, full, bytes);
        let grown = self.size + self.buffer.len() as u64;
        if grown > self.limits().max_bytes {
            let line = self.buffer.split_off(before);
            self.flush();
            self.rotate();
            self.buffer = line;
        } else if self.buffer.len() > COLLECTED {
            self.flush();
        }
    }

    /// Brings what was collected to the file.
    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let lines = self.buffer.split(|byte| *byte == b'\n').count().saturating_sub(1) as u64;
        let written = self.write();
        self.unseen += self.buffer.len() as u64;
        if self.unseen >= BETWEEN_LOOKS || written.is_err() {
            self.look();
        }
        if written.is_ok() {
            self.dropped = 0;
        } else {
            self.dropped += lines;
            self.lost += lines;
        }
        self.buffer.clear();
    }

    fn write(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(&self.buffer) {
            // Half a line must not stay: a full disk still lets a file be cut.
            let _ = file.set_len(self.size);
            return Err(error);
        }
        self.size += self.buffer.len() as u64;
        Ok(())
    }

    fn limits(&self) -> LogLimits {
        let Self { limits, scarce, .. } = self;
        if *scarce {
            LogLimits { max_bytes: limits.max_bytes.min(SCARCE.max_bytes), max_files: limits.max_files.min(SCARCE.max_files) }
        } else {
            *limits
        }
    }

    /// Looks how much room the disk has left. Where it is little, what is too much by the narrower limits goes now, the oldest first.
    fn look(&mut self) {
        self.unseen = 0;
        let before = self.scarce;
        // A disk that does not say is not short of room.
        self.scarce = self
            .file
            .as_ref()
            .and_then(|file| rustix::fs::fstatvfs(file).ok())
            .is_some_and(|disk| is_scarce(disk.f_blocks.saturating_mul(disk.f_frsize), disk.f_bavail.saturating_mul(disk.f_frsize)));
        if self.scarce {
            self.tell = !before;
            self.shrink();
        }
    }

    /// Takes away what the limits of now do not allow.
    fn shrink(&mut self) {
        let LogLimits { max_bytes, max_files } = self.limits();
        for number in max_files..self.limits.max_files {
            // One that is not there takes no room.
            let _ = fs::remove_file(self.numbered(number));
        }
        for number in 1..max_files {
            let old = self.numbered(number);
            if fs::metadata(&old).is_ok_and(|old| old.len() > max_bytes) {
                let _ = fs::remove_file(old);
            }
        }
        if self.size > max_bytes {
            self.rotate();
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        self.size = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }

    /// Moves every file one number up, over the oldest one, and begins a new one.
    fn rotate(&mut self) {
        self.file = None;
        for number in (1..self.limits().max_files).rev() {
            // A file that is not there yet has nothing to move.
            let _ = fs::rename(self.numbered(number - 1), self.numbered(number));
        }
        if self.limits().max_files == 1 {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.reopen();
    }
}

/// Whether so many bytes are little to have left of a disk.
fn is_scarce(all: u64, left: u64) -> bool {
    left < (all / RESERVE_SHARE).min(RESERVE)
}

/// Cuts one stream into lines. Holds at most one part of a line.
#[derive(Debug)]
pub struct Lines {
    stream: Stream,
    rest: Vec<u8>,
}

impl Lines {
    /// For one stream, from its beginning.
    pub fn new(stream: Stream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Takes what was read and writes the lines that it completes.
    pub fn take(&mut self, log: &mut LogWriter, at: Timestamp, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PART.saturating_sub(self.rest.len());
            let (window, _) = bytes.split_at(room.min(bytes.len()));
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                let (line, after) = bytes.split_at(end);
                self.put(log, at, true, line);
                bytes = after.strip_prefix(b"\n").unwrap_or(after);
            } else if window.len() == room {
                let (part, after) = bytes.split_at(room);
                self.put(log, at, false, part);
                bytes = after;
            } else {
                self.rest.extend_from_slice(bytes);
                bytes = &[];
            }
        }
        log.flush();
    }

    /// Writes what was left without a newline at the end.
    pub fn end(&mut self, log: &mut LogWriter, at: Timestamp) {
        if !self.rest.is_empty() {
            self.put(log, at, true, &[]);
            log.flush();
        }
    }

    fn put(&mut self, log: &mut LogWriter, at: Timestamp, full: bool, bytes: &[u8]) {
        if log.dropped > 0 && log.buffer.is_empty() {
            let note = format!("mesh-controller: {} lines before this one were lost: the log could not be written", log.dropped);
            log.line(at, Stream::Stderr, true, note.as_bytes());
        }
        if log.tell && log.buffer.is_empty() {
            log.tell = false;
            log.line(
                at,
                Stream::Stderr,
                true,
                b"mesh-controller: the disk has little room left: only the newest lines are kept until it has more",
            );
        }
        if self.rest.is_empty() {
            log.line(at, self.stream, full, bytes);
        } else {
            self.rest.extend_from_slice(bytes);
            let rest = std::mem::take(&mut self.rest);
            log.line(at, self.stream, full, &rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_base::clock;

    fn written(limits: LogLimits, writes: &[&[u8]]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut log, mut lines) = (LogWriter::open(path.clone(), limits), Lines::new(Stream::Stdout));
        for bytes in writes {
            lines.take(&mut log, clock::now(), bytes);
        }
        lines.end(&mut log, clock::now());
        (dir, path)
    }

    fn tags(path: &PathBuf) -> Vec<(bool, usize)> {
        let bytes = fs::read(path).unwrap();
        bytes.split(|byte| *byte == b'\n').filter_map(super::super::Line::parse).map(|line| (line.full, line.bytes.len())).collect()
    }

    const WIDE: LogLimits = LogLimits { max_bytes: 1 << 20, max_files: 2 };

    #[test]
    fn lines_are_put_together_across_reads_and_long_ones_are_cut_into_parts() {
        let (_dir, path) = written(WIDE, &[b"ab", b"c\nd\n", b"\n", b"end"]);
        assert_eq!(tags(&path), [(true, 3), (true, 1), (true, 0), (true, 3)]);
        let (_dir, path) = written(WIDE, &[&b"x".repeat(40_000), b"\n"]);
        assert_eq!(tags(&path), [(false, PART), (false, PART), (true, 40_000 - 2 * PART)]);
        let (_dir, path) = written(WIDE, &[&[b'x'; PART], b"\n"]);
        assert_eq!(tags(&path), [(false, PART), (true, 0)]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(64))]
        #[test]
        fn however_the_output_is_cut_into_reads_the_same_lines_come_out(
            bytes in proptest::collection::vec(proptest::prop_oneof![proptest::strategy::Just(b'\n'), proptest::arbitrary::any::<u8>()], 0..2000),
            cuts in proptest::collection::vec(1_usize..700, 1..20),
        ) {
            let mut reads = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let (read, after) = rest.split_at((*cut).min(rest.len()));
                reads.push(read);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let (_dir, path) = written(WIDE, &reads);
            let log = fs::read(path).unwrap_or_default();
            let lines = log.split(|byte| *byte == b'\n').filter_map(super::super::Line::parse).map(|line| line.bytes);
            let mut read_back = lines.collect::<Vec<_>>().join(&b'\n');
            if bytes.ends_with(b"\n") {
                read_back.push(b'\n');
            }
            proptest::prop_assert_eq!(read_back, bytes);
        }
    }

    #[test]
    fn a_flood_without_newlines_stays_within_the_limits() {
        let limits = LogLimits { max_bytes: 50_000, max_files: 3 };
        let block = vec![0_u8; 65_536];
        let (dir, path) = written(limits, &[&block[..]; 20]);
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(files.len(), 3);
        assert!(files.iter().all(|size| *size <= 50_000), "{files:?}");
        assert!(path.exists());
    }

    #[test]
    fn a_log_that_cannot_be_written_is_counted_and_goes_on_when_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/log");
        let (mut log, mut lines) = (LogWriter::open(path.clone(), WIDE), Lines::new(Stream::Stdout));
        lines.take(&mut log, clock::now(), b"lost 1\nlost 2\n");
        assert_eq!(log.lost(), 2);
        fs::create_dir(dir.path().join("sub")).unwrap();
        lines.take(&mut log, clock::now(), b"kept\n");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("2 lines before this one were lost") && text.ends_with("kept\n"), "{text}");
    }

    #[test]
    fn little_room_is_a_twentieth_of_a_small_disk_and_a_fixed_sum_of_a_large_one() {
        const MIB: u64 = 1 << 20;
        let little = [(100 * MIB, 5 * MIB - 1), (1 << 40, 256 * MIB - 1), (100 * MIB, 0)];
        assert!(little.iter().all(|(all, left)| is_scarce(*all, *left)));
        let enough = [(100 * MIB, 5 * MIB), (1 << 40, 256 * MIB), (0, 0)];
        assert!(!enough.iter().any(|(all, left)| is_scarce(*all, *left)));
    }

    #[test]
    fn where_little_room_is_left_the_newest_lines_are_kept_and_that_is_said() {
        let limits = LogLimits { max_bytes: 1 << 20, max_files: 4 };
        let (dir, path) = written(limits, &[&b"line\n".repeat(20_000)[..]; 20]);
        let (mut log, mut lines) = (LogWriter::open(path.clone(), limits), Lines::new(Stream::Stdout));
        let bytes = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>();
        assert!(bytes() > 3 << 20);
        (log.scarce, log.tell) = (true, true);
        log.shrink();
        for _ in 0..12 {
            lines.take(&mut log, clock::now(), &b"line\n".repeat(1000));
            log.shrink();
        }
        lines.take(&mut log, clock::now(), b"newest\n");
        assert!(bytes() <= 1 << 20, "{}", bytes());
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains("little room left") && text.ends_with("newest\n"), "{}", text.len());
    }

    #[test]
    fn a_full_disk_leaves_no_half_line() {
        // /dev/full says ENOSPC to every write.
        let mut log = LogWriter::open("/dev/full".into(), WIDE);
        let mut lines = Lines::new(Stream::Stdout);
        lines.take(&mut log, clock::now(), b"a\nb\n");
        assert_eq!(log.lost(), 2);
    }
}
