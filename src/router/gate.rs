//! The strict gate for request heads, on the bytes as they came (RFC 9112). Pure.
//!
//! hyper's parser is lenient where two programs can read one head differently: it takes a bare LF, drops `Content-Length` beside `Transfer-Encoding` without a
//! word, takes two `Host`s. What passes here can be read in one way only; all else is answered with 400 and the end of the connection.
//! To find the next head on a kept connection the gate follows the framing of bodies as well.
pub mod chunks;
pub mod head;

use chunks::Chunks;
use head::{Framing, Head};

/// The longest head.
pub const MAX_HEAD: usize = 64 * 1024;

/// The most fields of a head: what comes behind reads no more.
pub const MAX_FIELDS: usize = 100;

/// Why a head was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// A line that ends in LF alone.
    #[error("a line of the head ends without CR LF")]
    BareLineFeed,
    /// NUL, CR or another control character inside a line.
    #[error("the head has a control character")]
    ControlCharacter,
    /// A line that begins with white space.
    #[error("a header field is folded over lines")]
    Folded,
    /// White space before the colon, no colon, or characters that no name has.
    #[error("the name of a header field is malformed")]
    FieldName,
    /// Not `METHOD target HTTP/1.x`.
    #[error("the request line is malformed")]
    RequestLine,
    /// A target with characters that no URI has.
    #[error("the request target has a character that no URI has")]
    Target,
    /// CONNECT.
    #[error("CONNECT is not served")]
    Connect,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the HTTP version is not served")]
    Version,
    /// More than one Host.
    #[error("there is more than one Host")]
    SeveralHosts,
    /// HTTP/1.1 without Host.
    #[error("there is no Host")]
    NoHost,
    /// A Host with characters that no host has.
    #[error("the Host is malformed")]
    MalformedHost,
    /// `GET http://a/` with `Host: b`.
    #[error("the target and Host name different hosts")]
    HostMismatch,
    /// More than one Content-Length.
    #[error("there is more than one Content-Length")]
    SeveralLengths,
    /// A Content-Length that is no plain number.
    #[error("the Content-Length is malformed")]
    MalformedLength,
    /// Content-Length and Transfer-Encoding.
    #[error("there are both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    /// Anything but one `chunked`, or any of it in HTTP/1.0.
    #[error("the Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
    /// Longer than [`MAX_HEAD`].
    #[error("the head is too large")]
    TooLarge,
    /// More fields than [`MAX_FIELDS`].
    #[error("the head has more than 100 fields")]
    TooManyFields,
    /// It took too long.
    #[error("the head did not come in time")]
    TooSlow,
    /// A chunk that is framed wrongly.
    #[error("the chunked body is malformed")]
    Chunk,
}

/// Where the gate is in the stream of one connection.
#[derive(Debug)]
enum State {
    Head,
    Body(u64),
    Chunks(Chunks),
    /// After the head of an upgrade request: what comes now has no meaning before the answer is known.
    Held,
    /// After an upgrade: not HTTP any more.
    Open,
}

/// The gate of one connection.
#[derive(Debug)]
pub struct Gate {
    state: State,
    heads: u64,
}

/// What may pass of the bytes fed.
#[derive(Debug, PartialEq, Eq)]
pub struct Fed {
    /// So many of them; the rest is to be kept and fed again with what follows.
    pub pass: usize,
    /// The head after those is refused.
    pub reject: Option<Reject>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { state: State::Head, heads: 0 }
    }
}

impl Gate {
    /// Looks at the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut pass = 0;
        while let Some(rest) = bytes.get(pass..).filter(|rest| !rest.is_empty()) {
            let step = match &mut self.state {
                State::Head => self.head(rest),
                State::Body(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Head;
                    }
                    Ok(Some(taken))
                }
                State::Chunks(chunks) => chunks.feed(rest).map(|(taken, done)| {
                    if done {
                        self.state = State::Head;
                    }
                    Some(taken)
                }),
                State::Held => Ok(None),
                State::Open => Ok(Some(rest.len())),
            };
            match step {
                Ok(Some(taken)) => pass += taken,
                Ok(None) => break,
                Err(reject) => return Fed { pass, reject: Some(reject) },
            }
        }
        Fed { pass, reject: None }
    }

    /// One head, if it is complete.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Reject> {
        // An empty line before a request line is to be ignored (RFC 9112, 2.2).
        if bytes.starts_with(b"\r\n") {
            return Ok(Some(2));
        }
        let parsed = head::parse(bytes).inspect_err(|_| self.heads += 1)?;
        let Some((Head { framing, upgrade }, length)) = parsed else {
            return if bytes.len() > MAX_HEAD {
                self.heads += 1;
                Err(Reject::TooLarge)
            } else {
                Ok(None)
            };
        };
        self.heads += 1;
        self.state = match framing {
            Framing::None | Framing::Length(0) if upgrade => State::Held,
            Framing::None | Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Body(length),
            Framing::Chunked => State::Chunks(Chunks::default()),
        };
        Ok(Some(length))
    }

    /// How many heads there were, the refused one included.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// A head that has begun and is refused from outside (it was too slow) counts too.
    pub fn give_up(&mut self) {
        self.heads += 1;
    }

    /// Whether the next byte begins a head.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Whether bytes are held back until an upgrade is decided.
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Held)
    }

    /// Whether it is not HTTP any more.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The upgrade was made: everything passes from now on.
    pub fn open(&mut self) {
        self.state = State::Open;
    }

    /// The upgrade was declined: heads follow.
    pub fn resume(&mut self) {
        self.state = State::Head;
    }
}
