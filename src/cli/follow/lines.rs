//! Bytes cut into lines with their times. A line of any length is read in bounded memory.
use futures::{AsyncBufRead, AsyncBufReadExt, Stream};
use jiff::Timestamp;

/// A longer line is cut into pieces.
const LONGEST: usize = 64 * 1024;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written, as the API says; none for the rest of a line that was cut.
    pub at: Option<Timestamp>,
    /// The line without its time and its end.
    pub text: Vec<u8>,
}

/// The lines of a stream in which each begins with its time and a space. Ends with the stream, or where it breaks.
pub fn lines(reader: impl AsyncBufRead + Send) -> impl Stream<Item = Line> + Send {
    let state = (Box::pin(reader), Vec::new());
    futures::stream::unfold(state, |(mut reader, mut line)| async move {
        loop {
            // A broken stream ends: the caller opens it again after the last line it got.
            let chunk = reader.fill_buf().await.unwrap_or_default();
            if chunk.is_empty() {
                let rest = (!line.is_empty()).then(|| parse(&std::mem::take(&mut line)));
                return rest.map(|rest| (rest, (reader, line)));
            }
            let room = LONGEST.saturating_sub(line.len()).min(chunk.len());
            let piece = chunk.get(..room).unwrap_or(chunk);
            let end = piece.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(piece.get(..end.unwrap_or(room)).unwrap_or(piece));
            reader.as_mut().consume(end.map_or(room, |end| end + 1));
            if end.is_some() || line.len() >= LONGEST {
                return Some((parse(&std::mem::take(&mut line)), (reader, line)));
            }
        }
    })
}

fn parse(line: &[u8]) -> Line {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let at = parts.next().and_then(|head| std::str::from_utf8(head).ok()).and_then(|head| head.parse().ok());
    let text = if at.is_some() { parts.next().unwrap_or_default() } else { line };
    Line { at, text: text.strip_suffix(b"\r").unwrap_or(text).to_vec() }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, io::Cursor};

    use super::*;

    async fn read(bytes: Vec<u8>) -> Vec<Line> {
        lines(Cursor::new(bytes)).collect().await
    }

    #[tokio::test]
    async fn each_line_has_its_time_and_its_bytes() {
        let read = read(b"2026-01-01T00:00:00.5Z one two\r\n2026-01-01T00:00:01Z \nno time\n2026-01-01T00:00:02Z \xff cut".to_vec()).await;
        let at = |text: &str| Some(text.parse().unwrap());
        let wanted = [
            Line { at: at("2026-01-01T00:00:00.5Z"), text: b"one two".to_vec() },
            Line { at: at("2026-01-01T00:00:01Z"), text: Vec::new() },
            Line { at: None, text: b"no time".to_vec() },
            Line { at: at("2026-01-01T00:00:02Z"), text: b"\xff cut".to_vec() },
        ];
        assert_eq!(read, wanted);
    }

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces() {
        let read = read(vec![b'x'; 2 * LONGEST + 3]).await;
        assert_eq!(read.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [LONGEST, LONGEST, 3]);
    }
}
