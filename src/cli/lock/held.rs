//! Holding a key from the command line: by the agent's door where this is an instance of the mesh, else by the API itself.
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    exit::{Code, Failure, Result},
    hostname::hostname,
    output,
    target::{Connection, Target},
};
use mesh_controller_sdk::Mesh;
use mesh_coordination::{
    locks::{self, Ask, Following, Key, Kind, LockMetrics, Locks, News, Refusal, Store, redis::Redis},
    session::{Session, Sessions},
    token::Tokens,
};
use mesh_kit::clock::BootClock;

/// For the first look at what is held.
const READING: Duration = Duration::from_secs(5);
/// After a renewal that came to nothing.
const AGAIN: Duration = Duration::from_millis(500);

/// What is to be held.
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) ttl: Duration,
    pub(super) wait: Option<Duration>,
    pub(super) metadata: Map<String, Value>,
}

impl Wanted {
    /// In words.
    pub(super) fn what(&self) -> String {
        self.kind.named(&self.name)
    }
}

/// A key that is held.
pub(super) enum Held {
    Agent(Box<mesh_controller_sdk::Held>),
    Api(Box<Own>),
}

impl Held {
    pub(super) fn fence(&self) -> u64 {
        match self {
            Self::Agent(held) => held.fence(),
            Self::Api(own) => own.fence,
        }
    }

    /// Keeps it until it is lost; says why.
    pub(super) async fn lost(&mut self) -> String {
        match self {
            Self::Agent(held) => held.lost().await.reason,
            Self::Api(own) => own.keep().await,
        }
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        match self {
            Self::Agent(held) => held.release().await,
            // Whoever is refused here has lost it by then.
            Self::Api(own) => drop(own.locks.release(own.key, own.session, own.fence).await),
        }
    }
}

/// The agent that runs this program, if it is one of its instances and no API was named.
pub(super) fn agent(target: &Target) -> Result<Option<Mesh>> {
    if target.is_said() || std::env::var_os("MESH_AGENT").is_none() {
        return Ok(None);
    }
    Mesh::from_env().map(Some).map_err(|error| failed(&error))
}

pub(super) async fn of_agent(mesh: &Mesh, wanted: &Wanted) -> Result<Held> {
    let keys = match wanted.kind {
        Kind::Lock => mesh.locks(),
        Kind::Leader => mesh.leaders(),
    };
    let options = mesh_controller_sdk::Options { ttl: wanted.ttl, wait: wanted.wait, metadata: wanted.metadata.clone() };
    keys.acquire(&wanted.name, &options).await.map(|held| Held::Agent(Box::new(held))).map_err(|error| failed(&error))
}

fn failed(error: &mesh_controller_sdk::Error) -> Failure {
    let code = match error {
        mesh_controller_sdk::Error::Held(_) | mesh_controller_sdk::Error::Lost(_) => Code::Conflict,
        error if error.is_passing() => Code::Unreachable,
        _ => Code::Failed,
    };
    Failure::new(code, error.to_string())
}

/// What this process holds itself.
pub(super) struct Own {
    locks: Locks,
    key: Key,
    session: Session,
    fence: u64,
    ttl: Duration,
    following: Following,
    /// Keeps the locks; ends with this.
    _keeper: JoinSet<()>,
}

pub(super) async fn of_api(api: &Connection, wanted: &Wanted) -> Result<Held> {
    if let Some((node, place)) = api.coordination().await {
        let text = format!("node {node} keeps its locks in {place}, not in the API: give --coordination with its URL");
        return Err(Failure::new(Code::Usage, text));
    }
    let store = Store::Leases { client: api.client.clone(), namespace: Some(api.namespace.clone()) };
    let unread = async || {
        // Says what is wrong with the API, if it answers at all.
        api.namespace_is_there().await?;
        Err(Failure::new(Code::Failed, "the Leases cannot be read: the API does not let this user watch leases.coordination.k8s.io"))
    };
    of_store(store, api.namespace.clone(), wanted, unread).await
}

pub(super) async fn of_redis(redis: Redis, namespace: String, wanted: &Wanted) -> Result<Held> {
    let unread = async || Err(unreachable(redis.trouble().unwrap_or_else(|| format!("{} does not answer", redis.address()))));
    of_store(Store::Redis(redis.clone()), namespace, wanted, unread).await
}

/// A Redis that does not answer.
pub(super) fn unreachable(why: String) -> Failure {
    Failure::new(Code::Unreachable, why)
}

/// Holds it itself, in that store; `unread` says why its records could not be read in time.
async fn of_store(store: Store, namespace: String, wanted: &Wanted, unread: impl AsyncFnOnce() -> Result) -> Result<Held> {
    // Unlike any other that ever was, as the run of an instance is.
    let session = Session { instance: hostname(), uid: Uuid::new_v4().to_string(), attempt: 0 };
    let sessions = Sessions::default();
    sessions.lives(session.clone());
    let options = locks::Options {
        store,
        agent: None,
        sessions,
        tokens: Tokens::random(),
        metrics: LockMetrics::default(),
        clock: BootClock::system(),
    };
    let (locks, keeping) = locks::keep(options);
    let mut keeper = JoinSet::new();
    keeper.spawn(async move {
        // It does not fail.
        let _ = keeping.await;
    });
    if !locks.ready(READING).await {
        unread().await?;
    }
    let key = Key { namespace, kind: wanted.kind, name: wanted.name.clone() };
    let ask = Ask { ttl: wanted.ttl, wait: wanted.wait, metadata: wanted.metadata.clone(), ticket: None };
    let mut waiting = locks.ask(key.clone(), session.clone(), ask).await.map_err(|refusal| refused(wanted, &refusal))?;
    loop {
        match waiting.next().await {
            Some(News::Queued { .. }) => output::remark(&format!("waiting for {}\n", wanted.what())),
            Some(News::Held(holding, following)) => {
                let (fence, ttl) = (holding.fence, wanted.ttl);
                return Ok(Held::Api(Box::new(Own { locks, key, session, fence, ttl, following, _keeper: keeper })));
            }
            Some(News::Refused(refusal)) => return Err(refused(wanted, &refusal)),
            None => return Err(Failure::new(Code::Failed, "it ended")),
        }
    }
}

fn refused(wanted: &Wanted, refusal: &Refusal) -> Failure {
    let what = wanted.what();
    match refusal {
        Refusal::Held(holding) => {
            let text =
                format!("{what} is held by {} until {} unless it is renewed; --wait waits for it", holding.instance(), holding.expires());
            Failure::new(Code::Conflict, text)
        }
        Refusal::Lost(loss) => Failure::new(Code::Conflict, format!("{what}: {loss}")),
        Refusal::Busy => Failure::new(Code::Conflict, format!("{what}: too many wait for it")),
        Refusal::Unavailable(why) | Refusal::Refused(why) => Failure::new(Code::Failed, format!("{what}: {why}")),
    }
}

impl Own {
    async fn keep(&mut self) -> String {
        let mut pause = self.ttl / 3;
        loop {
            tokio::select! {
                loss = &mut self.following => return loss.map_or_else(|_| "this process ends".to_owned(), |loss| loss.to_string()),
                () = tokio::time::sleep(pause) => {}
            }
            pause = match self.locks.renew(self.key.clone(), self.session.clone(), self.fence).await {
                Ok(_) => self.ttl / 3,
                Err(Refusal::Lost(loss)) => return loss.to_string(),
                // The end of it is told when it comes.
                Err(_) => AGAIN.min(self.ttl / 3),
            };
        }
    }
}
