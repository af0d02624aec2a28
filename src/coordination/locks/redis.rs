//! Keys in a Redis that several hosts share: a hash for each, under a prefix. A write is a script that compares the revision and tells the watchers; a revision is
//! greater than all before it, and that of the acquisition is the fence. Redis forgets a record a day after its ttl, so that nothing stays where all have died;
//! whose a key is does not hang on that: every agent counts the ttl by its own clock, as with Leases.
//!
//! There is one connection, made again whenever it breaks; while there is none, every call is refused at once. Nothing is promised beyond what one Redis
//! keeps: one that loses what it has confirmed may let two hold a key, and the fence tells a store which of them is the later.
mod link;
mod record;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use ::redis::{
    AsyncCommands, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisError, RedisResult, Script,
    ServerErrorKind, TlsCertificates, aio::MultiplexedConnection,
};
use prometheus_client::metrics::gauge::Gauge;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::{sync::watch, time::timeout};

use self::record::Names;
use super::{
    Held, Key,
    message::{Change, Failed, Record},
};
use mesh_kit::{clock, metrics::Metrics};

/// What the keys' names begin with where nothing else is said.
pub const PREFIX: &str = "mesh:";
/// A call, and each attempt to connect, waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long after its ttl Redis forgets a record: longer than its clock may jump.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// So many records are read at a time.
const CHUNK: usize = 500;

static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/write.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("redis/list.lua")));

/// Which Redis, and how it is used.
#[derive(Clone)]
pub struct Options {
    /// `redis://` or `rediss://`, with user, password and database where it needs them.
    pub url: String,
    /// What the keys' names begin with.
    pub prefix: String,
    /// Certificates that are trusted instead of the system's, as PEM.
    pub ca: Option<Vec<u8>>,
}

impl fmt::Debug for Options {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Why it cannot be used. No text has the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has another scheme, or none.
    #[error("{0} is no address of a Redis: take redis://HOST:PORT/DATABASE, or rediss:// for TLS")]
    Scheme(String),
    /// It cannot be read.
    #[error(
        "the address of the Redis cannot be read: {0}; it is redis://USER:PASSWORD@HOST:PORT/DATABASE, with %XX for what is special in a URL"
    )]
    Url(String),
    /// It says more than an address.
    #[error("the address of the Redis has {0:?} at its end, which means nothing here: leave it out")]
    More(String),
    /// Certificates for a connection without any.
    #[error("certificates are for rediss://, and this is redis://")]
    NoTls,
    /// They are none.
    #[error("there is no certificate in it; it is a file of PEM blocks, -----BEGIN CERTIFICATE-----")]
    Certificates,
    /// It is there, and does not want us.
    #[error("{at} refuses: {why}; see that user, password, database and the user's permissions are right")]
    Refused {
        /// Which.
        at: String,
        /// What it said.
        why: String,
    },
}

/// A Redis that keeps the records. Cheap to clone.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

struct Shared {
    client: Client,
    /// Its address, without a password.
    at: String,
    names: Names,
    line: watch::Sender<Line>,
    /// Which connection is not to be trusted any more.
    doubted: watch::Sender<u64>,
    up: Gauge,
}

/// The connection and its number, or why there is none.
type Line = Result<(u64, MultiplexedConnection), String>;

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.0.at).finish()
    }
}

impl Redis {
    /// Looks at the Redis once. One that is not there is none of the errors: it is waited for.
    ///
    /// # Errors
    /// The options are wrong, or it refuses who asks.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let (client, at, database) = client(&options)?;
        let not_yet = Err(format!("{at} was not reached yet"));
        let names = Names { prefix: options.prefix, database };
        let (line, doubted) = (watch::Sender::new(not_yet), watch::Sender::new(0));
        let this = Self(Arc::new(Shared { client, at, names, line, doubted, up: Gauge::default() }));
        match this.records().await {
            Err(error) if is_refusal(&error) => Err(Error::Refused { at: this.0.at.clone(), why: words(&error) }),
            Ok(_) | Err(_) => Ok(this),
        }
    }

    /// Registers whether it answers.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register(|registry| registry.register("redis_up", "Whether the Redis that keeps the locks answers", self.0.up.clone()));
    }

    /// Its address, without a password.
    pub fn address(&self) -> &str {
        &self.0.at
    }

    /// Why it cannot be used now; none if it can.
    pub fn trouble(&self) -> Option<String> {
        self.0.line.borrow().as_ref().err().cloned()
    }

    /// All that is held now, by key; for one who only looks.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn held(&self) -> Result<Vec<Held>, String> {
        let records = self.records().await.map_err(|error| self.away(&error))?;
        let held =
            records.into_iter().filter_map(|(key, record)| Some(Held { key, node: record::node(&record), holding: record.holding? }));
        let mut held: Vec<_> = held.collect();
        held.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(held)
    }

    /// Every record, by a connection of its own.
    async fn records(&self) -> RedisResult<Vec<(Key, Record)>> {
        let (mut connection, _) = self.dial().await?;
        self.list(&mut connection).await
    }

    pub(super) async fn read(&self, key: &Key) -> Result<Record, Failed> {
        let name = self.0.names.record(key);
        let fields: HashMap<String, String> = self.call(async |connection| connection.hgetall(&name).await).await?;
        Ok(record::record(&fields))
    }

    pub(super) async fn write(&self, key: &Key, revision: Option<u64>, change: &Change, agent: Option<&str>) -> Result<Record, Failed> {
        let names = &self.0.names;
        let mut script = WRITE.key(names.record(key));
        script.key(names.revision()).key(names.index());
        let (act, fields) = record::change(change, agent, clock::now());
        script.arg(revision.map(|revision| revision.to_string()).unwrap_or_default()).arg(names.channel()).arg(act).arg(millis(KEPT));
        for (field, value) in &fields {
            script.arg(field).arg(value);
        }
        let told: Option<Vec<String>> = self.call(async |connection| script.invoke_async(connection).await).await?;
        let (_, record) = told.and_then(|told| names.told(told)).ok_or(Failed::Conflict)?;
        Ok(record)
    }

    /// Every record; pipelined, a part at a time.
    async fn list(&self, connection: &mut MultiplexedConnection) -> RedisResult<Vec<(Key, Record)>> {
        let names: Vec<String> = LIST.key(self.0.names.index()).invoke_async(connection).await?;
        let mut all = Vec::new();
        for chunk in names.chunks(CHUNK) {
            let mut pipe = ::redis::pipe();
            for name in chunk {
                pipe.hgetall(name);
            }
            let found: Vec<HashMap<String, String>> = pipe.query_async(connection).await?;
            let found = chunk.iter().zip(found).filter(|(_, fields)| !fields.is_empty());
            all.extend(found.filter_map(|(name, fields)| Some((self.0.names.key(name)?, record::record(&fields)))));
        }
        Ok(all)
    }

    /// Calls while there is a connection, and for no longer than is bearable.
    async fn call<T>(&self, call: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> Result<T, Failed> {
        let (number, mut connection) = self.0.line.borrow().clone().map_err(Failed::Away)?;
        let (why, is_doubtful) = match timeout(PATIENCE, call(&mut connection)).await {
            Ok(Ok(done)) => return Ok(done),
            // One that may only be read is not the one that it was: another has taken its place, perhaps under the same name.
            Ok(Err(error)) => (self.away(&error), is_broken(&error) || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)),
            Err(_) => (self.silent(), true),
        };
        if is_doubtful {
            self.0.doubted.send_replace(number);
        }
        Err(Failed::Away(why))
    }

    fn away(&self, error: &RedisError) -> String {
        if error.is_timeout() { self.silent() } else { format!("{}: {}", self.0.at, words(error)) }
    }

    fn silent(&self) -> String {
        format!("{} does not answer", self.0.at)
    }
}

/// What speaks to it, its address without a password, and its database.
fn client(options: &Options) -> Result<(Client, String, i64), Error> {
    let (scheme, _) = options.url.split_once("://").ok_or_else(|| Error::Scheme("what was given".to_owned()))?;
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err(Error::Scheme(format!("{scheme:?}"))),
    };
    let url = ::redis::parse_redis_url(&options.url).ok_or_else(|| Error::Url("it is no URL".to_owned()))?;
    let more = url.query().map(|query| format!("?{query}")).or_else(|| url.fragment().map(|fragment| format!("#{fragment}")));
    if let Some(more) = more {
        return Err(Error::More(more));
    }
    let wrong = |error: RedisError| Error::Url(error.to_string());
    let info = url.into_connection_info().map_err(wrong)?;
    // Changes are pushed on the connection of the calls.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let database = settings.db();
    let at = match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } if !host.contains(':') => {
            format!("{scheme}://{host}:{port}/{database}")
        }
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => format!("{scheme}://[{host}]:{port}/{database}"),
        _ => return Err(Error::Url("it names no host".to_owned())),
    };
    let info = info.set_redis_settings(settings);
    let client = match &options.ca {
        None => Client::open(info),
        Some(_) if !tls => return Err(Error::NoTls),
        Some(pem) => {
            let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            all.ok().filter(|all| !all.is_empty()).ok_or(Error::Certificates)?;
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) })
        }
    };
    Ok((client.map_err(wrong)?, at, database))
}

/// What Redis said, as it said it; or what befell the connection.
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {}", detail.trim_end_matches('.')),
        _ => error.to_string(),
    }
}

/// Whether nothing more can be expected of the connection.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_timeout()
}

/// Whether it is there and will say the same again: somebody has to mend the options, or the Redis.
fn is_refusal(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::RESP3NotSupported => true,
        ErrorKind::Server(kind) => {
            matches!(kind, ServerErrorKind::ResponseError | ServerErrorKind::NoPerm | ServerErrorKind::Moved | ServerErrorKind::CrossSlot)
        }
        _ => matches!(error.code(), Some("NOAUTH" | "WRONGPASS")),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str, ca: Option<&str>) -> Result<(String, i64), String> {
        let options = Options { url: url.into(), prefix: PREFIX.into(), ca: ca.map(|ca| ca.as_bytes().to_vec()) };
        client(&options).map(|(_, at, database)| (at, database)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown, database) in [
            ("redis://redis.example.org", "redis://redis.example.org:6379/0", 0),
            ("redis://:s3cret@10.0.0.1:7000/5", "redis://10.0.0.1:7000/5", 5),
            ("rediss://mesh:s%40cret@redis/2", "rediss://redis:6379/2", 2),
            ("redis://[::1]:6380", "redis://[::1]:6380/0", 0),
        ] {
            assert_eq!(opened(url, None), Ok((shown.to_owned(), database)), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_without_what_may_be_a_password() {
        for (url, ca, word) in [
            ("s3cret", None, "redis://HOST:PORT/DATABASE"),
            ("http://:s3cret@host", None, "\"http\" is no address"),
            ("redis+unix:///run/s3cret", None, "\"redis+unix\" is no address"),
            ("redis://:s3cret@host/x", None, "cannot be read"),
            ("redis://:s3cret@host:99999", None, "cannot be read"),
            ("redis://:s3cret@", None, "cannot be read"),
            ("rediss://:s3cret@host#insecure", None, "#insecure"),
            ("redis://:s3cret@host?protocol=resp2", None, "?protocol=resp2"),
            ("redis://:s3cret@host", Some(""), "rediss://"),
            ("rediss://:s3cret@host", Some("s3cret"), "no certificate"),
        ] {
            let error = opened(url, ca).unwrap_err();
            assert!(error.contains(word) && !error.contains("s3cret"), "{url}: {error}");
        }
    }
}
