//! Borders of WebSocket frames (RFC 6455, 5.2) in one direction of a tunnel, so that the router's own close frame falls between two. Pure.

/// A close frame with 1001, "going away", as a server sends it.
pub const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];
/// The same as a client sends it, masked by zeros.
pub const GOING_AWAY_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9];

/// Where in a stream of frames a direction is.
#[derive(Debug, Default)]
pub struct Frames {
    head: Vec<u8>,
    left: u64,
    closed: bool,
}

impl Frames {
    /// Follows what passed.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= taken as u64;
                bytes = bytes.get(taken..).unwrap_or_default();
                continue;
            }
            self.head.push(first);
            bytes = rest;
            if let Some(payload) = payload(&self.head) {
                self.closed |= self.head.first().is_some_and(|byte| byte & 0x0F == 8);
                self.left = payload;
                self.head.clear();
            }
        }
    }

    /// Whether a frame could begin now; not after a close.
    pub fn at_border(&self) -> bool {
        self.left == 0 && self.head.is_empty() && !self.closed
    }
}

/// The length of what follows a frame's head, once the head is complete.
fn payload(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (extra, short) = match second & 0x7F {
        126 => (2, None),
        127 => (8, None),
        length => (0, Some(u64::from(length))),
    };
    if head.len() < 2 + extra + mask {
        return None;
    }
    short.or_else(|| Some(head.get(2..2 + extra)?.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_is_where_a_frame_has_ended_however_the_stream_is_cut() {
        let long = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &vec![7; 65536]].concat();
        let frames: [&[u8]; 4] =
            [&[0x81, 0x02, b'h', b'i'], &[0x82, 0x81, 1, 2, 3, 4, 9], &[&[0x82, 126, 0, 200][..], &[7; 200]].concat(), &long];
        let stream = frames.concat();
        let borders: Vec<usize> = frames
            .iter()
            .scan(0, |end, frame| {
                *end += frame.len();
                Some(*end)
            })
            .collect();
        let mut follower = Frames::default();
        for (at, byte) in stream.iter().enumerate() {
            follower.follow(std::slice::from_ref(byte));
            assert_eq!(follower.at_border(), borders.contains(&(at + 1)), "{at}");
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        for close in [&GOING_AWAY[..], &GOING_AWAY_MASKED[..]] {
            let mut follower = Frames::default();
            follower.follow(close);
            assert!(!follower.at_border());
        }
    }
}
