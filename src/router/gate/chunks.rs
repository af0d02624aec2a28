//! A chunked body, followed byte by byte only where it is framing, so that its end is known.
use super::Reject;

/// Where in the body the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks(Place);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeEnd { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
}

impl Default for Chunks {
    fn default() -> Self {
        Self(Place::Size { value: 0, digits: 0 })
    }
}

impl Chunks {
    /// Follows the bytes; says how many belong to the body and whether it ended with them.
    ///
    /// # Errors
    /// Framing that is not as it must be.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(usize, bool), Reject> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Place::Data { left } = self.0 {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += taken;
                let left = left - taken as u64;
                self.0 = if left == 0 { Place::DataCr } else { Place::Data { left } };
                continue;
            }
            at += 1;
            match step(self.0, byte).ok_or(Reject::Chunk)? {
                Some(next) => self.0 = next,
                None => return Ok((at, true)),
            }
        }
        Ok((at, false))
    }
}

/// The next place; `Some(None)` is the end of the body, `None` an error.
#[expect(clippy::option_option, reason = "error, end, or next place; local to this file")]
fn step(place: Place, byte: u8) -> Option<Option<Place>> {
    let next = match (place, byte) {
        (Place::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => {
            Place::Size { value: value << 4 | u64::from(char::from(byte).to_digit(16)?), digits: digits + 1 }
        }
        (Place::Size { value, digits: 1.. } | Place::Extension { value }, b'\r') => Place::SizeEnd { value },
        (Place::Size { value, digits: 1.. }, b';') | (Place::Extension { value }, b'\t' | 0x20..=0x7e | 0x80..) => {
            Place::Extension { value }
        }
        (Place::SizeEnd { value: 0 } | Place::TrailerLf, b'\n') => Place::TrailerStart,
        (Place::SizeEnd { value }, b'\n') => Place::Data { left: value },
        (Place::DataCr, b'\r') => Place::DataLf,
        (Place::DataLf, b'\n') => Place::Size { value: 0, digits: 0 },
        (Place::TrailerStart, b'\r') => Place::LastLf,
        (Place::TrailerStart, b'!'..=0x7e) | (Place::Trailer, b'\t' | 0x20..=0x7e | 0x80..) => Place::Trailer,
        (Place::Trailer, b'\r') => Place::TrailerLf,
        (Place::LastLf, b'\n') => return Some(None),
        _ => return None,
    };
    Some(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_where_it_ends_however_it_is_cut() {
        let body = b"5\r\nhello\r\n1A;x=\"y\"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\n";
        for cut in 0..body.len() {
            let mut chunks = Chunks::default();
            assert_eq!(chunks.feed(&body[..cut]), Ok((cut, false)));
            let mut rest = body[cut..].to_vec();
            rest.extend_from_slice(b"GET /");
            assert_eq!(chunks.feed(&rest), Ok((body.len() - cut, true)), "{cut}");
        }
    }

    #[test]
    fn wrong_framing_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "5\nhello",
            "5 \r\nhello",
            "+5\r\n",
            "5\r\nhelloX",
            "0\r\n X: folded\r\n\r\n",
            "FFFFFFFFFFFFFFFFF\r\n",
            "5;\x01\r\n",
            "0\r\n\n",
        ] {
            assert_eq!(Chunks::default().feed(body.as_bytes()), Err(Reject::Chunk), "{body:?}");
        }
    }
}
