//! Bytes cut into lines with their times. A line of any length is read in bounded memory: what is longer than [`LONGEST`] comes in pieces, cut
//! between characters, and each cut is marked on both of its sides.
use futures::{AsyncBufRead, AsyncBufReadExt, Stream};
use jiff::Timestamp;

/// A longer line is cut into pieces.
pub const LONGEST: usize = 256 * 1024;
/// Stands where a line was cut.
pub const CUT: &str = "…";

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
    let state = (Box::pin(reader), Begun::default());
    futures::stream::unfold(state, |(mut reader, mut begun)| async move {
        loop {
            // A broken stream ends, and half a line with it: the caller opens it again after the last line it got.
            let chunk = reader.fill_buf().await.ok()?;
            if chunk.is_empty() {
                let rest = (!begun.bytes.is_empty()).then(|| begun.end());
                return rest.map(|rest| (rest, (reader, begun)));
            }
            let room = LONGEST.saturating_sub(begun.bytes.len()).min(chunk.len());
            let piece = chunk.get(..room).unwrap_or(chunk);
            let end = piece.iter().position(|byte| *byte == b'\n');
            begun.bytes.extend_from_slice(piece.get(..end.unwrap_or(room)).unwrap_or(piece));
            reader.as_mut().consume(end.map_or(room, |end| end + 1));
            if end.is_some() {
                return Some((begun.end(), (reader, begun)));
            }
            if begun.bytes.len() >= LONGEST {
                return Some((begun.cut(), (reader, begun)));
            }
        }
    })
}

/// A line whose end was not read yet.
#[derive(Default)]
struct Begun {
    bytes: Vec<u8>,
    /// A part of it was given away already.
    goes_on: bool,
}

impl Begun {
    /// All of it.
    fn end(&mut self) -> Line {
        let bytes = std::mem::take(&mut self.bytes);
        if std::mem::take(&mut self.goes_on) {
            Line { at: None, text: [CUT.as_bytes(), without_return(&bytes)].concat() }
        } else {
            parse(&bytes)
        }
    }

    /// What there is of it, up to the last whole character.
    fn cut(&mut self) -> Line {
        let rest = self.bytes.split_off(whole(&self.bytes));
        let mut line = self.end();
        line.text.extend_from_slice(CUT.as_bytes());
        (self.bytes, self.goes_on) = (rest, true);
        line
    }
}

/// How many bytes stand before a character that is not whole; all of them if it is, or if they are no characters.
fn whole(bytes: &[u8]) -> usize {
    let is_inner = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let inner = bytes.iter().rev().take(3).take_while(is_inner).count();
    let Some(first) = bytes.len().checked_sub(inner + 1) else { return bytes.len() };
    let wanted = match bytes.get(first) {
        Some(0b1100_0000..=0b1101_1111) => 2,
        Some(0b1110_0000..=0b1110_1111) => 3,
        Some(0b1111_0000..=0b1111_0111) => 4,
        Some(_) | None => 1,
    };
    if inner + 1 < wanted { first } else { bytes.len() }
}

fn without_return(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn parse(line: &[u8]) -> Line {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let at = parts.next().and_then(|head| std::str::from_utf8(head).ok()).and_then(|head| head.parse().ok());
    let text = if at.is_some() { parts.next().unwrap_or_default() } else { line };
    Line { at, text: without_return(text).to_vec() }
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
    async fn half_a_line_where_a_stream_breaks_is_no_line() {
        let reset = futures::stream::iter([
            Ok("2026-01-01T00:00:00Z one\n2026-01-01T00:00:00Z tw"),
            Err(std::io::ErrorKind::ConnectionReset.into()),
        ]);
        let read: Vec<Line> = lines(futures::TryStreamExt::into_async_read(reset)).collect().await;
        assert_eq!(read.iter().map(|line| line.text.as_slice()).collect::<Vec<_>>(), [b"one"]);
    }

    #[tokio::test]
    async fn a_long_line_is_whole() {
        let text = "ä".repeat(100_000);
        let read = read(format!("2026-01-01T00:00:00Z {text}\nnext\n").into_bytes()).await;
        assert_eq!(read.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [200_000, 4]);
    }

    #[tokio::test]
    async fn where_a_line_is_cut_stands_a_mark_and_no_character_is_broken() {
        // One byte before, so that a cut by bytes would hit the middle of a character.
        for character in ["ä", "€", "🎉", "x"] {
            let text = format!("y{}", character.repeat(2 * LONGEST / character.len() + 1));
            let read = read(format!("{text}\nnext").into_bytes()).await;
            let pieces: Vec<&str> = read.iter().map(|line| std::str::from_utf8(&line.text).unwrap()).collect();
            assert_eq!(pieces.len(), 4, "{character}");
            assert!(pieces[0].ends_with(CUT) && pieces[1].starts_with(CUT) && pieces[1].ends_with(CUT) && pieces[2].starts_with(CUT));
            assert!(!pieces[2].ends_with(CUT) && pieces[3] == "next");
            assert_eq!(pieces[..3].concat().replace(CUT, ""), text);
        }
        // What is no text is cut all the same.
        let read = read(vec![0x80; LONGEST + 3]).await;
        assert_eq!(read.iter().map(|line| line.text.len()).collect::<Vec<_>>(), [LONGEST + CUT.len(), CUT.len() + 3]);
    }
}
