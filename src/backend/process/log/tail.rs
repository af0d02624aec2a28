//! Finds where the last lines of a log begin, from its end, so that a large log is not read for ten lines.
use std::{collections::VecDeque, fs::File, io, os::unix::fs::FileExt};

use mesh_shim::log::Line;

/// Holds several lines of the greatest length.
const CHUNK: u64 = 64 * 1024;

/// In which file (of those given, the oldest first) and where in it the last `wanted` lines begin.
pub(crate) fn start(files: &VecDeque<File>, wanted: u64) -> io::Result<(usize, u64)> {
    let mut missing = wanted;
    for (index, file) in files.iter().enumerate().rev() {
        if let Some(offset) = start_in(file, &mut missing)? {
            return Ok((index, offset));
        }
    }
    Ok((0, 0))
}

/// Goes back over the lines of one file; the place behind the first line that is no longer wanted, or none if the file has fewer.
fn start_in(file: &File, missing: &mut u64) -> io::Result<Option<u64>> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        let mut chunk = vec![0; usize::try_from(end - begin).unwrap_or_default()];
        file.read_exact_at(&mut chunk, begin)?;
        let mut behind = end;
        let mut lines: Vec<&[u8]> = chunk.split_inclusive(|byte| *byte == b'\n').collect();
        // The first one is whole only at the beginning of the file.
        let first = if begin > 0 && lines.len() > 1 { lines.remove(0).len() } else { 0 };
        for line in lines.into_iter().rev() {
            let ends_a_line = line.strip_suffix(b"\n").and_then(Line::parse).is_some_and(|line| line.full);
            if ends_a_line && *missing == 0 {
                return Ok(Some(behind));
            }
            *missing -= u64::from(ends_a_line);
            behind -= line.len() as u64;
        }
        end = begin + first as u64;
    }
    Ok(None)
}
