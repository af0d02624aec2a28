//! A place in an instance's log, which runs over several files: it moves on to the newer ones, and finds its way when they are renamed under it.
use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
};

use bytes::Bytes;

use super::{gather::Gather, tail};
use crate::LogQuery;
use mesh_shim::{
    dir::{InstanceDir, LOG},
    log::Line,
};

const CHUNK: usize = 64 * 1024;
/// What is said where files went by.
const GAP: &str = "mesh-controller: lines may be missing here: the log was rotated faster than it was read\n";

/// Where a reader is.
pub(crate) struct Cursor {
    dir: InstanceDir,
    query: LogQuery,
    current: Option<File>,
    newer: VecDeque<File>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    gather: Gather,
    chunk: Vec<u8>,
    /// The file that was read last was thrown away before the next one was opened.
    gap: bool,
}

impl Cursor {
    /// At the first line that the query wants.
    pub(crate) fn open(dir: InstanceDir, query: LogQuery) -> io::Result<Self> {
        let mut files = files(&dir)?;
        if let Some(lines) = query.tail_lines {
            let (skipped, offset) = tail::start(&files, lines)?;
            files.drain(..skipped);
            if let Some(file) = files.front_mut() {
                file.seek(SeekFrom::Start(offset))?;
            }
        }
        Ok(Self {
            dir,
            current: files.pop_front(),
            newer: files,
            rest: Vec::new(),
            gather: Gather::new(query.timestamps),
            query,
            chunk: vec![0; CHUNK],
            gap: false,
        })
    }

    /// Whether the instance has not been removed.
    pub(crate) fn dir_exists(&self) -> bool {
        self.dir.path().exists()
    }

    /// The next piece; none at the end of what is written so far.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let count = self.current.as_mut().map_or(Ok(0), |file| file.read(&mut self.chunk))?;
            if count > 0 {
                self.rest.extend_from_slice(self.chunk.get(..count).unwrap_or_default());
                let piece = self.whole_lines();
                if !piece.is_empty() {
                    return Ok(Some(piece.into()));
                }
            } else if let Some(file) = self.newer.pop_front() {
                self.current = Some(file);
                if std::mem::take(&mut self.gap) {
                    return Ok(Some(GAP.into()));
                }
            } else if !self.find_newer()? {
                return Ok(None);
            }
        }
    }

    /// What there is of lines whose end was not written, where nothing more will be; none if there are no such lines.
    pub(crate) fn unfinished(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        self.gather.rest(&mut piece);
        (!piece.is_empty()).then(|| piece.into())
    }

    /// Looks whether the log was rotated since. The current file is read once more then: it may have got its last lines meanwhile.
    fn find_newer(&mut self) -> io::Result<bool> {
        let current = self.current.as_ref().map(inode).transpose()?;
        let newest = fs::metadata(self.dir.file(LOG)).ok().map(|meta| (meta.dev(), meta.ino()));
        if newest.is_none() || newest == current {
            return Ok(false);
        }
        let mut files = files(&self.dir)?;
        let place = files.iter().position(|file| inode(file).is_ok_and(|inode| Some(inode) == current));
        if let Some(place) = place {
            files.drain(..=place);
        }
        self.gap = current.is_some() && place.is_none();
        self.newer = files;
        Ok(!self.newer.is_empty())
    }

    fn whole_lines(&mut self) -> Vec<u8> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let rest = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, rest);
        let mut piece = Vec::with_capacity(lines.len());
        let since = self.query.since;
        let new = |line: &Line<'_>| since.is_none_or(|since| line.time().is_none_or(|at| at >= since));
        for line in lines.split(|byte| *byte == b'\n').filter_map(Line::parse).filter(new) {
            self.gather.take(&mut piece, &line);
        }
        piece
    }
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}

/// All files of the log, the oldest first.
///
/// Opened from the newest on: a rotation meanwhile moves a file to where it is met a second time, never to where it is missed.
fn files(dir: &InstanceDir) -> io::Result<VecDeque<File>> {
    let mut files = VecDeque::new();
    let mut seen = Vec::new();
    for number in 0..=highest(dir)?.saturating_add(1) {
        let name = if number == 0 { LOG.to_owned() } else { format!("{LOG}.{number}") };
        match File::open(dir.file(&name)) {
            Ok(file) if seen.contains(&inode(&file)?) => {}
            Ok(file) => {
                seen.push(inode(&file)?);
                files.push_front(file);
            }
            // In the middle of a rotation any of them may be missing for a moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The number of the oldest file.
fn highest(dir: &InstanceDir) -> io::Result<u32> {
    let mut highest = 0;
    for entry in fs::read_dir(dir.path())? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(LOG)?.strip_prefix('.')?.parse().ok());
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use mesh_kit::clock;
    use mesh_shim::{
        instance::LogLimits,
        log::{
            Stream,
            writer::{Lines, LogWriter},
        },
    };

    use super::*;

    const FOLLOW: LogQuery = LogQuery { tail_lines: None, since: None, follow: true, timestamps: false };

    fn read(cursor: &mut Cursor) -> String {
        let pieces = std::iter::from_fn(|| cursor.next().unwrap());
        String::from_utf8(pieces.flatten().collect()).unwrap()
    }

    /// Numbered lines, of which a file holds some hundreds, and of which three files are kept.
    fn log(dir: &InstanceDir) -> impl FnMut(std::ops::Range<usize>) -> String + use<> {
        let limits = LogLimits { max_bytes: 32 * 1024, max_files: 3 };
        let (mut log, mut lines) = (LogWriter::open(dir.file(LOG), limits), Lines::new(Stream::Stdout));
        move |numbers| {
            let text = numbers.map(|number| number.to_string() + "\n").collect::<Vec<_>>().concat();
            lines.take(&mut log, clock::now(), text.as_bytes());
            text
        }
    }

    #[test]
    fn a_reader_that_keeps_up_loses_nothing_by_rotations_and_one_that_does_not_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let dir = InstanceDir::new(dir.path(), "1").unwrap();
        dir.create().unwrap();
        let mut write = log(&dir);
        let first = write(0..10);
        let mut cursor = Cursor::open(dir.clone(), FOLLOW).unwrap();
        assert_eq!(read(&mut cursor), first);
        let two_files = write(10..1000);
        assert_eq!(read(&mut cursor), two_files);
        write(1000..10_000);
        let rest = read(&mut cursor);
        let (before, after) = rest.split_once(GAP).unwrap();
        assert!(before.starts_with("1000\n") && after.ends_with("\n9999\n"), "{before}");
    }

    #[test]
    fn a_rotation_under_way_hides_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let dir = InstanceDir::new(dir.path(), "1").unwrap();
        dir.create().unwrap();
        let mut write = log(&dir);
        write(0..1500);
        let all = read(&mut Cursor::open(dir.clone(), FOLLOW).unwrap());
        fs::rename(dir.file("log.2"), dir.file("log.3")).unwrap();
        fs::rename(dir.file("log.1"), dir.file("log.2")).unwrap();
        assert_eq!(read(&mut Cursor::open(dir, FOLLOW).unwrap()), all);
    }
}
