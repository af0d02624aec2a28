//! HTTP to the agent: a connection for each request, which on a Unix socket costs next to nothing and leaves nothing to be kept.
use std::{path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

/// How long to wait for an answer that is due at once. More than the agent waits itself for what keeps the locks.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an agent that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two of these questions.
const AGAIN: Duration = Duration::from_millis(250);
/// The longest path of a Unix socket.
const MAX_PATH: usize = 107;
/// What may stand in a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A variable that every instance has is not there.
    #[error(
        "{0} is not set: a program finds the agent by MESH_AGENT and MESH_TOKEN_FILE, which the mesh sets for each instance that it runs"
    )]
    Environment(&'static str),
    /// The agent's address is none.
    #[error("MESH_AGENT {0:?} names no agent: it is unix:///PATH (of at most {MAX_PATH} bytes) or http://HOST:PORT")]
    Address(String),
    /// The token cannot be read.
    #[error("the token in {} cannot be read: {source}", path.display())]
    Token {
        /// The file that `MESH_TOKEN_FILE` names.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There was no answer.
    #[error("the agent does not answer: {0}")]
    Unreachable(String),
    /// Another holds the key, and the wait is over.
    #[error("{}", .0.detail)]
    Held(Box<Problem>),
    /// It is not held any more.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The agent refuses.
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl Error {
    /// It may be otherwise in a moment: the agent is away, or cannot reach what it stands on.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Problem(problem) => problem.status == 503,
            _ => false,
        }
    }
}

/// What the agent said (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// Which one, as a URI.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
    /// What of the input is wrong.
    pub field: Option<String>,
    /// What would be right.
    pub remedy: Option<String>,
    /// Why a lock is lost.
    pub reason: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, ": {remedy}"))
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match problem.kind.rsplit('/').next() {
            Some("held") => Self::Held(Box::new(problem)),
            Some("lost") => Self::Lost(Lost::named(problem.reason.as_deref().unwrap_or_default())),
            _ => Self::Problem(Box::new(problem)),
        }
    }
}

/// Why something is not held any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// As the agent says it: `NotRenewed`, `Unavailable`, `InstanceEnded`, `TakenAway`, `Released`, or `NotHeld`: it does not know that it ever was
    /// this program's, or no longer; `Expired` where this program saw it by its own clock.
    pub reason: String,
}

impl Lost {
    pub(crate) fn named(reason: &str) -> Self {
        Self { reason: reason.to_owned() }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it is not held any more ({})", self.reason)
    }
}

impl std::error::Error for Lost {}

/// A key as one segment of a path.
pub(crate) fn segment(key: &str) -> String {
    // Dots alone would lead elsewhere.
    if key.chars().all(|c| c == '.') { key.replace('.', "%2E") } else { utf8_percent_encode(key, SEGMENT).to_string() }
}

/// Where the agent is, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    place: Place,
    token: PathBuf,
}

#[derive(Debug, Clone)]
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

impl Agent {
    pub(crate) fn new(agent: &str, token: PathBuf) -> Result<Self, Error> {
        let wrong = || Error::Address(agent.to_owned());
        let place = if let Some(path) = agent.strip_prefix("unix://").filter(|path| path.starts_with('/') && path.len() <= MAX_PATH) {
            Place::Unix(path.into())
        } else {
            let authority =
                agent.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).filter(|rest| !rest.is_empty() && !rest.contains('/'));
            let authority = authority.ok_or_else(wrong)?;
            let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            Place::Tcp(if has_port { authority.to_owned() } else { format!("{authority}:80") })
        };
        Ok(Self { place, token })
    }

    /// Asks for a JSON answer that is due at once.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<Value>) -> Result<T, Error> {
        let asked = async {
            let response = self.send(method, path, body, "application/json").await?;
            let bytes = response.into_body().collect().await.map_err(unreachable)?.to_bytes();
            // An answer without a body is null.
            let bytes = if bytes.is_empty() { Bytes::from_static(b"null") } else { bytes };
            serde_json::from_slice(&bytes).map_err(unreachable)
        };
        timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(Error::Unreachable("it took too long".to_owned())))
    }

    /// Asks what there is. An agent that does not answer is asked again for a while: it may be restarting.
    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.ask("GET", path, None).await {
                Err(Error::Unreachable(_)) if Instant::now() < end => sleep(AGAIN).await,
                result => return result,
            }
        }
    }

    /// Asks for events.
    pub(crate) async fn events(&self, method: &str, path: &str, body: Option<Value>) -> Result<Events, Error> {
        let sent = timeout(ANSWER, self.send(method, path, body, "text/event-stream")).await;
        let response = sent.unwrap_or_else(|_| Err(Error::Unreachable("it took too long".to_owned())))?;
        Ok(Events { body: response.into_body(), read: Vec::new() })
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>, accept: &str) -> Result<Response<Incoming>, Error> {
        // It is read each time: the run has one, and the next run another.
        let token = tokio::fs::read_to_string(&self.token).await;
        let token = token.map_err(|source| Error::Token { path: self.token.clone(), source })?;
        let host = match &self.place {
            Place::Unix(_) => "agent",
            Place::Tcp(authority) => authority,
        };
        let request = Request::builder().method(method).uri(path).header("host", host).header("accept", accept);
        let request = request.header("authorization", format!("Bearer {}", token.trim())).header("content-type", "application/json");
        let body = Full::new(body.map(|body| Bytes::from(body.to_string())).unwrap_or_default());
        let request = request.body(body).map_err(unreachable)?;
        let response = match &self.place {
            Place::Unix(path) => exchange(UnixStream::connect(path).await.map_err(unreachable)?, request).await?,
            Place::Tcp(authority) => exchange(TcpStream::connect(authority).await.map_err(unreachable)?, request).await?,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(unreachable)?.to_bytes();
        let problem: Problem = serde_json::from_slice(&bytes).map_err(|_| Error::Unreachable(format!("it said {status}, in no words")))?;
        Err(problem.into())
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    // It ends with the answer's body, or when nobody reads that any more.
    #[expect(clippy::disallowed_methods, reason = "this library has no other owner for it")]
    drop(tokio::spawn(connection));
    sender.send_request(request).await.map_err(unreachable)
}

fn unreachable(error: impl std::fmt::Display) -> Error {
    Error::Unreachable(error.to_string())
}

/// Server-sent events.
pub(crate) struct Events {
    body: Incoming,
    read: Vec<u8>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Events {
    /// The next one; none when there are no more. What was read of one stays when this is given up.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let rest = self.read.split_off(end + 2);
                let block = std::mem::replace(&mut self.read, rest);
                match event(&String::from_utf8_lossy(&block)) {
                    Some(event) => return Some(event),
                    // A comment: it shows that the agent is there.
                    None => continue,
                }
            }
            let frame = self.body.frame().await?.ok()?;
            self.read.extend(frame.into_data().unwrap_or_default());
        }
    }
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    Some(Event { name: field("event")?.to_owned(), data: serde_json::from_str(field("data")?).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_url_and_a_key_is_one_segment() {
        for good in ["unix:///run/mesh/agent.sock", "http://127.0.0.1:7603", "http://mesh-agent.mesh-system", "http://[::1]:80/"] {
            assert!(Agent::new(good, PathBuf::new()).is_ok(), "{good}");
        }
        for bad in ["", "unix://relative", "/run/agent.sock", "https://x", "http://", "http://a/b", &format!("unix:///{}", "x".repeat(107))]
        {
            let said = Agent::new(bad, PathBuf::new()).unwrap_err().to_string();
            assert!(said.contains("unix:///PATH"), "{bad}: {said}");
        }
        assert_eq!(["a/b c", "..", "ö", "a.b-c"].map(segment), ["a%2Fb%20c", "%2E%2E", "%C3%B6", "a.b-c"]);
    }

    #[test]
    fn an_event_has_a_name_and_data_and_a_comment_is_none() {
        let event = |text| event(text).map(|event| (event.name, event.data.to_string()));
        assert_eq!(event("event: queued\ndata: {\"ticket\":1}\n\n"), Some(("queued".to_owned(), "{\"ticket\":1}".to_owned())));
        assert_eq!(event(": \n\n"), None);
    }
}
