//! Carries locks out: one task that holds all keys, asks the API, and answers. Leases are read once and then watched; what nobody asks for is not written.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher::{self, Event},
};
use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    Holding, Key, Kind, LockMetrics, Loss, Refusal, lease,
    slot::{Change, Command, Done, Failed, Id, Message, Record, Slot, Waiter},
};
use crate::session::{Session, Sessions, Standing};
use mesh_api::labels;
use mesh_kit::clock::{self, BootClock, BootTime};

/// A single call waits no longer than this.
const CALL: Duration = Duration::from_secs(5);
/// So long after its begin nobody gets what was held then: those who waited before are on their way back.
const SETTLE: Duration = Duration::from_secs(2);
/// Requests that wait for their turn; more wait before they enter.
const ORDERS: usize = 1024;
/// So many keys are held or wanted at the same time.
const MAX_KEYS: usize = 100_000;

/// Whose locks they are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only those of this namespace; none: of all.
    pub namespace: Option<String>,
    /// Which runs live here.
    pub sessions: Sessions,
    /// Counts what is held and wanted.
    pub metrics: LockMetrics,
    /// The system's, but in tests.
    pub clock: BootClock,
}

/// Asks for locks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Locks {
    orders: mpsc::Sender<Order>,
    /// Of those who are gone: never more than there are askers.
    leaving: mpsc::UnboundedSender<Order>,
    ids: Arc<AtomicU64>,
    tickets: Arc<AtomicU64>,
    synced: watch::Receiver<bool>,
    clock: BootClock,
}

/// What is asked of the task.
#[derive(Debug)]
enum Order {
    Ask { key: Key, waiter: Waiter, news: mpsc::Sender<News> },
    Step { key: Key, message: Message, answer: Option<oneshot::Sender<Result<Done, Refusal>>> },
    Follow { key: Key, session: Session, fence: u64, answer: oneshot::Sender<Result<(Holding, Following), Loss>> },
    List { namespace: String, kind: Kind, answer: oneshot::Sender<Vec<(String, Holding)>> },
    Observe { key: Key, answer: oneshot::Sender<Observing> },
}

/// What one who asked for a key learns, in this order.
#[derive(Debug)]
pub enum News {
    /// It waits: at this place, with this ticket.
    Queued {
        /// Keeps its place when it asks again.
        ticket: u64,
        /// 1 is the next.
        position: usize,
    },
    /// It holds the key.
    Held(Holding, Following),
    /// It does not get it.
    Refused(Refusal),
}

/// Learns why an acquisition is over.
pub type Following = oneshot::Receiver<Loss>;
/// Who leads, at each change.
pub type Observing = watch::Receiver<Option<Holding>>;

/// One who has asked. Whoever drops it leaves the queue, and gives back what it got and did not take.
#[derive(Debug)]
pub struct Waiting {
    key: Key,
    id: Id,
    session: Session,
    news: mpsc::Receiver<News>,
    leaving: mpsc::UnboundedSender<Order>,
}

impl Waiting {
    /// What comes next; none after the last.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.news.close();
        let mut message = Message::Leave(self.id);
        while let Ok(news) = self.news.try_recv() {
            if let News::Held(holding, _) = news {
                message = Message::Release(self.id, self.session.clone(), holding.fence);
            }
        }
        // Nobody is there at the end of the process.
        let _ = self.leaving.send(Order::Step { key: self.key.clone(), message, answer: None });
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// How long an acquisition is good for without a renewal.
    pub ttl: Duration,
    /// How long to wait; none: without an end.
    pub wait: Option<Duration>,
    /// What is said about it.
    pub metadata: Map<String, Value>,
    /// Of one who asked before.
    pub ticket: Option<u64>,
}

impl Locks {
    /// Locks kept as Leases of an API, and the task that keeps them until shutdown.
    pub fn new(client: Client, options: Options) -> (Self, impl Future<Output = Result<(), Infallible>> + Send + 'static) {
        let (orders, receiver) = mpsc::channel(ORDERS);
        let (leaving, left) = mpsc::unbounded_channel();
        let (synced, sync) = watch::channel(false);
        let clock = options.clock.clone();
        let this = Self { orders, leaving, ids: Arc::default(), tickets: Arc::default(), synced: sync, clock };
        (this, Keeper::new(client, options, synced).run(receiver, left))
    }

    /// Waits until all Leases were read; true if that has come about in time.
    pub async fn ready(&self, patience: Duration) -> bool {
        let mut synced = self.synced.clone();
        timeout(patience, synced.wait_for(|synced| *synced)).await.is_ok_and(|synced| synced.is_ok())
    }

    /// Asks for a key.
    ///
    /// # Errors
    /// The process ends.
    pub async fn ask(&self, key: Key, session: Session, ask: Ask) -> Result<Waiting, Refusal> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let ticket = ask.ticket.unwrap_or_else(|| self.ticket(now));
        let until = ask.wait.map(|wait| now + wait);
        let waiter = Waiter { id, session: session.clone(), ticket, ttl: ask.ttl, until, metadata: ask.metadata };
        let (sender, news) = mpsc::channel(2);
        self.send(Order::Ask { key: key.clone(), waiter, news: sender }).await?;
        Ok(Waiting { key, id, session, news, leaving: self.leaving.clone() })
    }

    /// The next ticket. By a clock that goes on over a restart of this process, so that who asks again with its own is at its old place.
    fn ticket(&self, now: BootTime) -> u64 {
        let micros = micros(now);
        let next = |last: u64| Some(micros.max(last.saturating_add(1)));
        self.tickets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(micros, |last| next(last).unwrap_or(micros))
    }

    /// Renews an acquisition.
    ///
    /// # Errors
    /// It is over, or that could not be written.
    pub async fn renew(&self, key: Key, session: Session, fence: u64) -> Result<Holding, Refusal> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        match self.step(key, Message::Renew(id, session, fence)).await? {
            Done::Held(holding) => Ok(holding),
            Done::Queued(_) | Done::Released => Err(Refusal::Lost(Loss::Released)),
        }
    }

    /// Gives an acquisition back.
    ///
    /// # Errors
    /// It is over otherwise, or that could not be written.
    pub async fn release(&self, key: Key, session: Session, fence: u64) -> Result<(), Refusal> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        self.step(key, Message::Release(id, session, fence)).await.map(drop)
    }

    async fn step(&self, key: Key, message: Message) -> Result<Done, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.send(Order::Step { key, message, answer: Some(sender) }).await?;
        answer.await.unwrap_or_else(|_| Err(ending()))
    }

    /// An acquisition of a run's own, and why it is over once it is.
    ///
    /// # Errors
    /// Why it is over already.
    pub async fn follow(&self, key: Key, session: Session, fence: u64) -> Result<(Holding, Following), Refusal> {
        let (sender, answer) = oneshot::channel();
        self.send(Order::Follow { key, session, fence, answer: sender }).await?;
        answer.await.map_err(|_| ending())?.map_err(Refusal::Lost)
    }

    /// What is held of a kind in a namespace, by name.
    ///
    /// # Errors
    /// The process ends.
    pub async fn list(&self, namespace: &str, kind: Kind) -> Result<Vec<(String, Holding)>, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.send(Order::List { namespace: namespace.to_owned(), kind, answer: sender }).await?;
        answer.await.map_err(|_| ending())
    }

    /// Who holds a key, now and at each change.
    ///
    /// # Errors
    /// The process ends.
    pub async fn observe(&self, key: Key) -> Result<Observing, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.send(Order::Observe { key, answer: sender }).await?;
        answer.await.map_err(|_| ending())
    }

    async fn send(&self, order: Order) -> Result<(), Refusal> {
        self.orders.send(order).await.map_err(|_| ending())
    }
}

fn micros(time: BootTime) -> u64 {
    u64::try_from(time.since_boot().as_micros()).unwrap_or(u64::MAX)
}

fn ending() -> Refusal {
    Refusal::Unavailable("this agent is ending".to_owned())
}

/// One key, and who is told about it.
struct Entry {
    slot: Slot,
    wake: Option<BootTime>,
    /// As it was counted last: how many wait, and whether it is held.
    counted: (usize, bool),
    followers: Vec<(u64, oneshot::Sender<Loss>)>,
    observers: Option<watch::Sender<Option<Holding>>>,
}

/// One who is to be told.
enum Asker {
    Waits { ticket: u64, news: mpsc::Sender<News> },
    Steps(oneshot::Sender<Result<Done, Refusal>>),
}

/// The task.
struct Keeper {
    client: Client,
    options: Options,
    synced: watch::Sender<bool>,
    started: BootTime,
    settled: BootTime,
    entries: HashMap<Key, Entry>,
    askers: HashMap<Id, (Session, Asker)>,
    wakes: BTreeSet<(BootTime, Key)>,
    calls: FuturesUnordered<BoxFuture<'static, (Key, Called)>>,
    /// Of the list that is being read.
    listed: HashSet<Key>,
    trouble: Option<String>,
}

/// What came of a call.
enum Called {
    Read(Result<Record, Failed>),
    Wrote(Result<Record, Failed>),
}

impl Keeper {
    fn new(client: Client, options: Options, synced: watch::Sender<bool>) -> Self {
        let started = options.clock.now();
        Self {
            client,
            options,
            synced,
            started,
            settled: started + SETTLE,
            entries: HashMap::new(),
            askers: HashMap::new(),
            wakes: BTreeSet::new(),
            calls: FuturesUnordered::new(),
            listed: HashSet::new(),
            trouble: None,
        }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut left: mpsc::UnboundedReceiver<Order>) -> Result<(), Infallible> {
        let leases: Api<Lease> = match &self.options.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let config = watcher::Config::default().labels(labels::LOCK);
        let mut watched = mesh_kit::watch::events(leases, config, "locks", |lease| lease.metadata.managed_fields = None);
        let mut changes = self.options.sessions.changes();
        loop {
            let now = self.options.clock.now();
            let pause = self.wakes.first().map(|(at, _)| at.since(now));
            let mut wake = pin!(async {
                match pause {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            });
            let synced = *self.synced.borrow();
            tokio::select! {
                order = orders.recv(), if synced => match order {
                    Some(order) => self.heed(order),
                    // Nobody can ask any more.
                    None => return Ok(()),
                },
                Some(order) = left.recv() => self.heed(order),
                Some(event) = watched.next() => self.see(event),
                Some((key, called)) = self.calls.next() => self.called(&key, called),
                Ok(()) = changes.changed() => self.runs(),
                () = &mut wake => {}
            }
            self.wake();
        }
    }

    fn heed(&mut self, order: Order) {
        match order {
            Order::Ask { key, waiter, news } => {
                if self.entries.len() >= MAX_KEYS && !self.entries.contains_key(&key) {
                    // Whoever asked may be gone already.
                    let _ = news.try_send(News::Refused(Refusal::Busy));
                    return;
                }
                let settled = self.settled;
                if waiter.ticket < micros(self.started) {
                    self.entry(&key).slot.settle(settled);
                }
                let asker = Asker::Waits { ticket: waiter.ticket, news };
                self.askers.insert(waiter.id, (waiter.session.clone(), asker));
                self.step(&key, Message::Ask(waiter));
            }
            Order::Step { key, message, answer } => {
                match (&message, answer) {
                    (Message::Renew(id, session, _) | Message::Release(id, session, _), Some(answer)) => {
                        self.askers.insert(*id, (session.clone(), Asker::Steps(answer)));
                    }
                    (Message::Leave(id) | Message::Release(id, ..), _) => drop(self.askers.remove(id)),
                    _ => {}
                }
                self.step(&key, message);
            }
            Order::Follow { key, session, fence, answer } => {
                let found = match self.entries.get_mut(&key) {
                    Some(entry) => match entry.slot.held_by(&session, fence) {
                        Ok(holding) => Ok((holding.clone(), entry.follow(fence))),
                        Err(loss) => Err(loss),
                    },
                    None => Err(Loss::NotHeld),
                };
                // Whoever asked may be gone already.
                let _ = answer.send(found);
            }
            Order::List { namespace, kind, answer } => {
                let now = self.options.clock.now();
                let held = self.entries.iter().filter(|(key, _)| key.namespace == namespace && key.kind == kind);
                let held = held.filter_map(|(key, entry)| Some((key.name.clone(), entry.slot.holding(now)?.clone())));
                let mut held: Vec<_> = held.collect();
                held.sort_by(|(one, _), (other, _)| one.cmp(other));
                let _ = answer.send(held);
            }
            Order::Observe { key, answer } => {
                let now = self.options.clock.now();
                let entry = self.entry(&key);
                let holding = entry.slot.holding(now).cloned();
                let observers = entry.observers.get_or_insert_with(|| watch::Sender::new(holding));
                let _ = answer.send(observers.subscribe());
                self.step(&key, Message::Wake);
            }
        }
    }

    /// The entry of a key, made if there is none.
    fn entry(&mut self, key: &Key) -> &mut Entry {
        let now = self.options.clock.now();
        self.entries.entry(key.clone()).or_insert_with(|| Entry::new(Slot::new(key.kind, now)))
    }

    /// Lets a key's slot decide, and does what it says.
    fn step(&mut self, key: &Key, message: Message) {
        let now = self.options.clock.now();
        let mut commands = self.entry(key).slot.step(message, now);
        while !commands.is_empty() {
            let mut more = Vec::new();
            for command in commands {
                match command {
                    Command::Read => {
                        let call = read(self.leases(key), key.clone());
                        self.calls.push(call.map(|(key, result)| (key, Called::Read(result))).boxed());
                    }
                    Command::Write(revision, change) => {
                        let call = write(self.leases(key), key.clone(), revision, change);
                        self.calls.push(call.map(|(key, result)| (key, Called::Wrote(result))).boxed());
                    }
                    Command::Answer(id, result) => {
                        if let Some(message) = self.answer(key, id, result) {
                            more.extend(self.entry(key).slot.step(message, now));
                        }
                    }
                    Command::Lost(fence, loss) => {
                        self.options.metrics.lost(loss);
                        let entry = self.entry(key);
                        for (_, follower) in entry.followers.extract_if(.., |(follows, follower)| *follows == fence || follower.is_closed())
                        {
                            // Whoever followed may be gone already.
                            let _ = follower.send(loss);
                        }
                    }
                }
            }
            commands = more;
        }
        self.settle(key, now);
    }

    /// Tells one who asked. What could not be given to it is given back.
    fn answer(&mut self, key: &Key, id: Id, result: Result<Done, Refusal>) -> Option<Message> {
        let (session, asker) = self.askers.remove(&id)?;
        match (asker, result) {
            (Asker::Steps(answer), result) => drop(answer.send(result)),
            (Asker::Waits { ticket, news }, Ok(Done::Queued(position))) => {
                // A full channel has the next of its news in it already.
                let _ = news.try_send(News::Queued { ticket, position });
                self.askers.insert(id, (session, Asker::Waits { ticket, news }));
            }
            (Asker::Waits { news, .. }, Ok(Done::Held(holding))) => {
                self.options.metrics.acquired(key.kind);
                let fence = holding.fence;
                let following = self.entry(key).follow(fence);
                if news.try_send(News::Held(holding, following)).is_err() {
                    return Some(Message::Release(id, session, fence));
                }
            }
            (Asker::Waits { .. }, Ok(Done::Released)) => {}
            (Asker::Waits { news, .. }, Err(refusal)) => drop(news.try_send(News::Refused(refusal))),
        }
        None
    }

    /// Notes when the key is to be woken, tells who looks on, and forgets it if there is nothing more to it.
    fn settle(&mut self, key: &Key, now: BootTime) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(observers) = &entry.observers {
            let holding = entry.slot.holding(now);
            observers.send_if_modified(|known| {
                let changed =
                    known.as_ref().map(|known| (&known.holder, known.fence)) != holding.map(|holding| (&holding.holder, holding.fence));
                if changed {
                    *known = holding.cloned();
                }
                changed
            });
            if observers.is_closed() {
                entry.observers = None;
            }
        }
        let counted = (entry.slot.waiting(), entry.slot.holding(now).is_some());
        let before = std::mem::replace(&mut entry.counted, counted);
        self.options.metrics.waits(before.0, counted.0);
        self.options.metrics.holds(key.kind, before.1, counted.1);
        let wake = entry.slot.wake();
        if entry.wake != wake {
            if let Some(old) = std::mem::replace(&mut entry.wake, wake) {
                self.wakes.remove(&(old, key.clone()));
            }
            self.wakes.extend(wake.map(|wake| (wake, key.clone())));
        }
        if entry.slot.is_idle() && entry.observers.is_none() {
            if let Some(wake) = entry.wake {
                self.wakes.remove(&(wake, key.clone()));
            }
            self.entries.remove(key);
        }
    }

    fn wake(&mut self) {
        let now = self.options.clock.now();
        while self.wakes.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.wakes.pop_first() else { return };
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.wake = None;
            }
            self.step(&key, Message::Wake);
        }
    }

    fn see(&mut self, event: Event<Lease>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(lease) => {
                if let Some(key) = lease::key(&lease) {
                    self.listed.insert(key.clone());
                    self.seen(&key, lease::record(&lease));
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<Key> = self.entries.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    self.step(&key, Message::Doubt);
                }
                self.synced.send_replace(true);
            }
            Event::Apply(lease) => {
                if let Some(key) = lease::key(&lease) {
                    self.seen(&key, lease::record(&lease));
                }
            }
            Event::Delete(lease) => {
                if let Some(key) = lease::key(&lease).filter(|key| self.entries.contains_key(key)) {
                    self.seen(&key, lease::removed(&lease));
                }
            }
        }
    }

    fn seen(&mut self, key: &Key, record: Record) {
        let standing = self.standing(&record);
        let now = self.options.clock.now();
        if !self.entries.contains_key(key) && !*self.synced.borrow() {
            let slot = Slot::found(key.kind, record, standing, self.settled, now);
            self.entries.insert(key.clone(), Entry::new(slot));
            return self.step(key, Message::Wake);
        }
        self.step(key, Message::Seen(record, standing));
    }

    fn standing(&self, record: &Record) -> Standing {
        let session = record.holding.as_ref().and_then(|holding| holding.holder.parse().ok());
        session.map_or(Standing::Unknown, |session| self.options.sessions.standing(&session))
    }

    fn called(&mut self, key: &Key, called: Called) {
        let (Called::Read(result) | Called::Wrote(result)) = &called;
        match result {
            Err(Failed::Away(why)) if self.trouble.as_ref() != Some(why) => {
                tracing::warn!(error = why, %key, "locks: the API does not answer as it should; it is tried again");
                self.trouble = Some(why.clone());
            }
            Err(_) => {}
            Ok(_) => self.trouble = None,
        }
        match called {
            Called::Read(result) => {
                let standing = result.as_ref().map_or(Standing::Unknown, |record| self.standing(record));
                self.step(key, Message::Read(result, standing));
            }
            Called::Wrote(result) => self.step(key, Message::Wrote(result)),
        }
    }

    /// Runs have begun or ended.
    fn runs(&mut self) {
        for (session, standing) in self.options.sessions.take_news() {
            let concerned: Vec<Key> =
                self.entries.iter().filter(|(_, entry)| entry.slot.concerns(&session)).map(|(key, _)| key.clone()).collect();
            for key in concerned {
                self.step(&key, Message::Run(session.clone(), standing));
            }
        }
    }

    fn leases(&self, key: &Key) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

impl Entry {
    fn new(slot: Slot) -> Self {
        Self { slot, wake: None, counted: (0, false), followers: Vec::new(), observers: None }
    }

    fn follow(&mut self, fence: u64) -> Following {
        let (sender, following) = oneshot::channel();
        self.followers.retain(|(_, follower)| !follower.is_closed());
        self.followers.push((fence, sender));
        following
    }
}

async fn read(leases: Api<Lease>, key: Key) -> (Key, Result<Record, Failed>) {
    let found = timeout(CALL, leases.get_opt(&lease::name(&key))).await;
    let record = match found {
        Ok(Ok(None)) => Ok(Record::default()),
        Ok(Ok(Some(lease))) => own(&key, &lease),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(silent()),
    };
    (key, record)
}

/// What a Lease says that has the key's name; it may be that of something else.
fn own(key: &Key, found: &Lease) -> Result<Record, Failed> {
    match found.metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::LOCK_KEY)) {
        Some(other) if *other != key.name => {
            Err(Failed::Away(format!("Lease {} is that of {other:?}: choose another name, or delete it", lease::name(key))))
        }
        _ => Ok(lease::record(found)),
    }
}

async fn write(leases: Api<Lease>, key: Key, revision: Option<u64>, change: Change) -> (Key, Result<Record, Failed>) {
    let written = timeout(CALL, change_lease(&leases, &key, revision, &change)).await;
    (key, written.unwrap_or_else(|_| Err(silent())))
}

async fn change_lease(leases: &Api<Lease>, key: &Key, revision: Option<u64>, change: &Change) -> Result<Record, Failed> {
    let (name, now) = (lease::name(key), clock::now());
    let manager = Some(labels::FIELD_MANAGER.to_owned());
    let Some(revision) = revision else {
        let params = PostParams { field_manager: manager, ..PostParams::default() };
        return leases.create(&params, &lease::made(key, change, now)).await.map(|lease| lease::record(&lease)).map_err(failed);
    };
    if key.kind == Kind::Lock && *change == Change::Free {
        let preconditions = Preconditions { resource_version: Some(revision.to_string()), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        return match leases.delete(&name, &params).await {
            // The revision of the removal is seen by the watch.
            Ok(_) => Ok(Record { revision, ..Record::default() }),
            Err(error) => Err(failed(error)),
        };
    }
    let params = PatchParams { field_manager: manager, ..PatchParams::default() };
    let patch = Patch::Merge(lease::patch(key, revision, change, now));
    leases.patch(&name, &params, &patch).await.map(|lease| lease::record(&lease)).map_err(failed)
}

/// Another was first, or nothing can be said.
fn failed(error: kube::Error) -> Failed {
    match error {
        kube::Error::Api(status) if status.code == 409 || status.code == 404 => Failed::Conflict,
        error => Failed::Away(mesh_kit::watch::refused::Chain(&error).to_string()),
    }
}

fn silent() -> Failed {
    Failed::Away("the API did not answer in time".to_owned())
}
