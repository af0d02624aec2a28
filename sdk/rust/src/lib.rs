#![doc = include_str!("../README.md")]
mod held;
mod wire;

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use self::{
    held::Held,
    wire::{Error, Lost, Problem},
};
use wire::Agent;

/// The agent of the mesh, as this program reaches it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mesh(Agent);

/// Whose token a program has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Myself {
    /// The namespace, in which all names count.
    pub namespace: String,
    /// The service.
    pub service: String,
    /// The instance of it.
    pub instance: String,
    /// Which start of the instance, from 0.
    pub attempt: u32,
}

/// Who holds a lock, or leads.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Holding {
    /// What it is called.
    #[serde(alias = "group")]
    pub key: String,
    /// Grows with every acquisition of the key, as long as the store of the mesh lives.
    pub fence: u64,
    /// The instance that holds it.
    pub holder: String,
    /// For how long after each renewal, as text (`30s`).
    pub ttl: String,
    /// When it was acquired, in RFC 3339.
    pub acquired_at: String,
    /// When it was last renewed.
    pub renewed_at: String,
    /// When it is anybody's, unless it is renewed.
    pub expires_at: String,
    /// What the holder said about it.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// For so long after each renewal nobody else gets it: whole seconds from 1 to a day. A holder that is killed loses it at once, one that is stopped after this.
    pub ttl: Duration,
    /// How long to wait for it, in turn; none: without an end.
    pub wait: Option<Duration>,
    /// Shown to whoever lists it; at most 4096 bytes of JSON.
    pub metadata: Map<String, Value>,
}

impl Default for Options {
    /// 30 s, and not waiting.
    fn default() -> Self {
        Self { ttl: Duration::from_secs(30), wait: Some(Duration::ZERO), metadata: Map::new() }
    }
}

impl Mesh {
    /// The agent that `MESH_AGENT` and `MESH_TOKEN_FILE` name.
    ///
    /// # Errors
    /// One of them is missing, or names no agent.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name: &'static str| std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or(Error::Environment(name));
        Self::new(&variable("MESH_AGENT")?, variable("MESH_TOKEN_FILE")?)
    }

    /// The agent at `unix:///PATH` or `http://HOST:PORT`, with the token in a file.
    ///
    /// # Errors
    /// It is neither.
    pub fn new(agent: &str, token_file: impl Into<PathBuf>) -> Result<Self, Error> {
        Agent::new(agent, token_file.into()).map(Self)
    }

    /// Whose token this program has.
    ///
    /// # Errors
    /// The agent does not answer, or does not know the token.
    pub async fn myself(&self) -> Result<Myself, Error> {
        self.0.read("/v1/self").await
    }

    /// Locks: one holder at a time.
    pub fn locks(&self) -> Keys {
        Keys { agent: self.0.clone(), kind: "locks" }
    }

    /// Leaders: one of each group.
    pub fn leaders(&self) -> Keys {
        Keys { agent: self.0.clone(), kind: "leaders" }
    }
}

/// Keys that one program holds at a time.
#[derive(Debug, Clone)]
pub struct Keys {
    agent: Agent,
    kind: &'static str,
}

impl Keys {
    /// Acquires a key, or waits for it as long as the options say; first come, first served. Not re-entrant: who holds it and asks again waits for itself.
    ///
    /// # Errors
    /// [`Error::Held`] where another holds it and the wait is over.
    pub async fn acquire(&self, key: &str, options: &Options) -> Result<Held, Error> {
        Held::acquire(self.agent.clone(), self.path(key), options).await
    }

    /// The same, or none if another holds it.
    ///
    /// # Errors
    /// The agent does not answer, or refuses.
    pub async fn try_acquire(&self, key: &str, options: &Options) -> Result<Option<Held>, Error> {
        match self.acquire(key, &Options { wait: Some(Duration::ZERO), ..options.clone() }).await {
            Err(Error::Held(_)) => Ok(None),
            result => result.map(Some),
        }
    }

    /// Who holds a key.
    ///
    /// # Errors
    /// The agent does not answer, or refuses.
    pub async fn get(&self, key: &str) -> Result<Option<Holding>, Error> {
        match self.agent.read(&self.path(key)).await {
            Err(Error::Problem(problem)) if problem.status == 404 => Ok(None),
            result => result.map(Some),
        }
    }

    /// All that are held in this program's namespace, by name.
    ///
    /// # Errors
    /// The agent does not answer, or refuses.
    pub async fn list(&self) -> Result<Vec<Holding>, Error> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Holding>,
        }
        let list: List = self.agent.read(&format!("/v1/{}", self.kind)).await?;
        Ok(list.items)
    }

    fn path(&self, key: &str) -> String {
        format!("/v1/{}/{}", self.kind, wire::segment(key))
    }
}

/// A duration as the agent reads it.
fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis / 1000, millis % 1000) {
        (seconds, 0) => pieces(seconds),
        (0, millis) => format!("{millis}ms"),
        (seconds, millis) => format!("{}{millis}ms", pieces(seconds)),
    }
}

fn pieces(seconds: u128) -> String {
    match (seconds / 3600, seconds % 3600) {
        (0, seconds) => format!("{seconds}s"),
        (hours, 0) => format!("{hours}h"),
        (hours, seconds) => format!("{hours}h{seconds}s"),
    }
}

/// The body of a request for a key.
fn asked(options: &Options, wait: Option<Duration>, ticket: Option<&Value>) -> Value {
    let mut body = json!({ "ttl": text(options.ttl), "metadata": options.metadata });
    if let Value::Object(body) = &mut body {
        // The longest that there is: asked for again when it is over.
        body.insert("wait".to_owned(), json!(text(wait.unwrap_or(Duration::from_secs(24 * 60 * 60)))));
        body.extend(ticket.map(|ticket| ("ticket".to_owned(), json!(ticket))));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_millis(300);

    #[test]
    fn durations_are_written_as_the_agent_reads_them() {
        for (millis, expected) in [(0, "0s"), (500, "500ms"), (30_000, "30s"), (1500, "1s500ms"), (86_400_000, "24h"), (3_601_000, "1h1s")]
        {
            assert_eq!(text(Duration::from_millis(millis)), expected);
        }
    }

    #[tokio::test]
    async fn an_agent_that_restarts_is_asked_again() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let dir = std::env::temp_dir().join(format!("mesh-sdk-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("token"), "t").unwrap();
        let mesh = Mesh::new(&format!("unix://{}", dir.join("s").display()), dir.join("token")).unwrap();
        let asked = async { mesh.myself().await.unwrap().instance };
        let answer = async {
            // Nobody listens at first, then somebody who is gone again.
            tokio::time::sleep(AFTER).await;
            let listener = tokio::net::UnixListener::bind(dir.join("s")).unwrap();
            drop(listener.accept().await.unwrap());
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = connection.read(&mut request).await.unwrap();
            let body = r#"{"namespace":"default","service":"web","instance":"web-1","attempt":0}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            connection.write_all(head.as_bytes()).await.unwrap();
            connection
        };
        assert_eq!(tokio::join!(asked, answer).0, "web-1");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
