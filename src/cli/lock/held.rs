//! Holding a key from the command line: by the agent's door where this is an instance of the mesh, else by the API itself.
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::ListParams};
use serde_json::{Map, Value};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use crate::{
    exit::{Code, Failure, Result},
    hostname::hostname,
    output,
    target::{Connection, Target},
};
use mesh_api::labels;
use mesh_controller_sdk::Mesh;
use mesh_coordination::{
    locks::{self, Ask, Following, Key, Kind, LockMetrics, Locks, Loss, Refusal, Store, redis::Redis},
    session::{Session, Sessions},
    token::Tokens,
};
use mesh_kit::clock::{BootClock, BootTime};

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
    Agent(Box<OfAgent>),
    Api(Box<Own>),
}

/// What becomes of it.
pub(super) enum News {
    /// It was renewed, and is held until then.
    Renewed(BootTime),
    /// It is lost.
    Lost(Lost),
}

/// Why it is lost, and whether nobody else has it before what was said of its end is over.
pub(super) struct Lost {
    pub(super) why: String,
    pub(super) leaves_time: bool,
}

impl Held {
    pub(super) fn fence(&self) -> u64 {
        match self {
            Self::Agent(of_agent) => of_agent.held.fence(),
            Self::Api(own) => own.fence,
        }
    }

    /// Until when it is held, unless it is renewed.
    pub(super) fn until(&self) -> BootTime {
        match self {
            Self::Agent(of_agent) => of_agent.until,
            Self::Api(own) => own.until,
        }
    }

    /// Keeps it, and says what becomes of it. Nothing is lost when this is given up and called again.
    pub(super) async fn news(&mut self) -> News {
        match self {
            Self::Agent(of_agent) => of_agent.news().await,
            Self::Api(own) => own.news().await,
        }
    }

    /// Gives it back.
    pub(super) async fn release(self) {
        match self {
            Self::Agent(of_agent) => of_agent.held.release().await,
            // Whoever is refused here has lost it by then.
            Self::Api(own) => drop(own.locks.release(own.key, own.session, own.fence).await),
        }
    }
}

/// The agent that runs this program, if it is one of its instances; none where an API, or a namespace that is not the instance's, was named.
pub(super) async fn agent(target: &Target) -> Result<Option<Mesh>> {
    if target.is_said() || std::env::var_os("MESH_AGENT").is_none() {
        return Ok(None);
    }
    let mesh = Mesh::from_env().map_err(|error| failed(&error))?;
    match target.namespace() {
        Some(namespace) => Ok((mesh.myself().await.map_err(|error| failed(&error))?.namespace == namespace).then_some(mesh)),
        None => Ok(Some(mesh)),
    }
}

pub(super) async fn of_agent(mesh: &Mesh, wanted: &Wanted) -> Result<Held> {
    let keys = match wanted.kind {
        Kind::Lock => mesh.locks(),
        Kind::Leader => mesh.leaders(),
    };
    let options = mesh_controller_sdk::Options { ttl: wanted.ttl, wait: wanted.wait, metadata: wanted.metadata.clone() };
    keys.acquire(&wanted.name, &options).await.map(|held| Held::Agent(Box::new(OfAgent::new(held)))).map_err(|error| failed(&error))
}

fn failed(error: &mesh_controller_sdk::Error) -> Failure {
    let code = match error {
        mesh_controller_sdk::Error::Held(_) | mesh_controller_sdk::Error::Lost(_) => Code::Conflict,
        error if error.is_passing() => Code::Unreachable,
        _ => Code::Failed,
    };
    Failure::new(code, error.to_string())
}

/// What is held at the agent's door.
pub(super) struct OfAgent {
    held: mesh_controller_sdk::Held,
    /// The same moment by two clocks.
    known: Instant,
    until: BootTime,
}

impl OfAgent {
    fn new(held: mesh_controller_sdk::Held) -> Self {
        let known = held.until().unwrap_or_else(Instant::now);
        Self { held, known, until: by_boot(known) }
    }

    async fn news(&mut self) -> News {
        tokio::select! {
            // The reasons but these are of an end that is not awaited.
            lost = self.held.lost() => {
                let leaves_time = ["NotRenewed", "Unavailable"].contains(&lost.reason.as_str());
                News::Lost(Lost { why: lost.reason, leaves_time })
            }
            known = self.held.renewed(self.known) => {
                (self.known, self.until) = (known, by_boot(known));
                News::Renewed(self.until)
            }
        }
    }
}

fn by_boot(moment: Instant) -> BootTime {
    BootClock::system().now() + moment.saturating_duration_since(Instant::now())
}

/// What this process holds itself.
pub(super) struct Own {
    locks: Locks,
    key: Key,
    session: Session,
    fence: u64,
    ttl: Duration,
    clock: BootClock,
    until: BootTime,
    /// When it is renewed.
    due: Instant,
    following: Following,
    /// Keeps the locks; ends with this.
    _keeper: JoinSet<()>,
}

pub(super) async fn of_api(api: &Connection, wanted: &Wanted) -> Result<Held> {
    if let Some((node, place)) = api.coordination().await {
        let text = format!("node {node} keeps its locks in {place}, not in the API: give --coordination with its URL");
        return Err(Failure::new(Code::Usage, text));
    }
    readable(api).await?;
    let store = Store::Leases { client: api.client.clone(), namespace: Some(api.namespace.clone()) };
    let trouble = async || {
        readable(api).await?;
        api.namespace_is_there().await
    };
    let unread = "the Leases cannot be watched: the API does not let this user watch leases.coordination.k8s.io, or is too slow";
    let unread = Failure::new(Code::Failed, unread);
    of_store(store, api.namespace.clone(), wanted, trouble, unread).await
}

pub(super) async fn of_redis(redis: Redis, namespace: String, wanted: &Wanted) -> Result<Held> {
    let trouble = async || redis.trouble().map_or(Ok(()), |why| Err(unreachable(why)));
    let unread = unreachable(format!("{} does not answer", redis.address()));
    of_store(Store::Redis(redis.clone()), namespace, wanted, trouble, unread).await
}

/// A Redis that does not answer.
pub(super) fn unreachable(why: String) -> Failure {
    Failure::new(Code::Unreachable, why)
}

/// Holds it itself, in that store; `trouble` says what is wrong with that, if it is known, and `unread` what else it is if it cannot be read.
async fn of_store(store: Store, namespace: String, wanted: &Wanted, trouble: impl AsyncFn() -> Result, unread: Failure) -> Result<Held> {
    let clock = BootClock::system();
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
        clock: clock.clone(),
        boot: Duration::ZERO,
    };
    let (locks, keeping) = locks::keep(options);
    let mut keeper = JoinSet::new();
    keeper.spawn(async move {
        // It does not fail.
        let _ = keeping.await;
    });
    if !locks.ready(READING).await {
        trouble().await?;
        return Err(unread);
    }
    let key = Key { namespace, kind: wanted.kind, name: wanted.name.clone() };
    let ask = Ask { ttl: wanted.ttl, wait: wanted.wait, metadata: wanted.metadata.clone(), ticket: None };
    let asked = clock.now();
    let mut waiting = locks.ask(key.clone(), session.clone(), ask).await.map_err(|refusal| refused(wanted, &refusal))?;
    let mut told = wanted.wait == Some(Duration::ZERO);
    loop {
        match waiting.next().await {
            Some(locks::News::Queued { .. }) if told => {}
            Some(locks::News::Queued { .. }) => {
                told = true;
                output::remark(&format!("waiting for {}\n", wanted.what()));
            }
            Some(locks::News::Held(holding, following)) => {
                let (fence, ttl) = (holding.fence, wanted.ttl);
                let (until, due) = (asked + ttl, Instant::now() + ttl / 3);
                let mut own = Own { locks, key, session, fence, ttl, until, due, clock, following, _keeper: keeper };
                // It waited. When it was written is not known here, but when this renewal is sent is.
                if own.clock.now().since(asked) > ttl / 3 {
                    own.renew().await.map_err(|refusal| refused(wanted, &refusal))?;
                }
                return Ok(Held::Api(Box::new(own)));
            }
            Some(locks::News::Refused(refusal)) => {
                if matches!(refusal, Refusal::Unavailable(_)) {
                    // It is told here if nothing answers any more.
                    trouble().await?;
                }
                return Err(refused(wanted, &refusal));
            }
            None => return Err(Failure::new(Code::Failed, "it ended")),
        }
    }
}

/// Whether the API answers, and lets this user see what is held.
async fn readable(api: &Connection) -> Result {
    let leases: Api<Lease> = Api::namespaced(api.client.clone(), &api.namespace);
    leases.list_metadata(&ListParams::default().labels(labels::LOCK).limit(1)).await?;
    Ok(())
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
    async fn news(&mut self) -> News {
        loop {
            tokio::select! {
                loss = &mut self.following => return News::Lost(lost(loss.unwrap_or(Loss::Unavailable))),
                () = sleep_until(self.due) => {}
            }
            match self.renew().await {
                Ok(until) => return News::Renewed(until),
                Err(Refusal::Lost(loss)) => return News::Lost(lost(loss)),
                // The end of it is told when it comes.
                Err(_) => self.due = Instant::now() + AGAIN.min(self.ttl / 3),
            }
        }
    }

    async fn renew(&mut self) -> Result<BootTime, Refusal> {
        let sent = self.clock.now();
        self.locks.renew(self.key.clone(), self.session.clone(), self.fence).await?;
        self.until = sent + self.ttl;
        self.due = Instant::now() + self.ttl / 3;
        Ok(self.until)
    }
}

fn lost(loss: Loss) -> Lost {
    let leaves_time = match loss {
        Loss::NotRenewed | Loss::Unavailable => true,
        Loss::InstanceEnded | Loss::TakenAway | Loss::Released | Loss::NotHeld => false,
    };
    Lost { why: loss.to_string(), leaves_time }
}
