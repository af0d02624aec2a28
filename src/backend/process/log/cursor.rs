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
    for number in 0_u32.. {
        let name = if number == 0 { LOG.to_owned() } else { format!("{LOG}.{number}") };
        match File::open(dir.file(&name)) {
            Ok(file) if seen.contains(&inode(&file)?) => {}
            Ok(file) => {
                seen.push(inode(&file)?);
                files.push_front(file);
            }
            // In the middle of a rotation the newest may be missing for a moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}
