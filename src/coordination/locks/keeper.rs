//! Keeps locks: one task that holds all keys, asks what keeps their records, and answers. Those are read once and then watched; what nobody asks for is not written.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    convert::Infallible,
    future::Future,
    pin::pin,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use super::{
    Holding, Key, LockMetrics, Loss, Refusal,
    ask::{Asked, Following, Locks, News, Order, micros},
    message::{Command, Done, Failed, Id, Message, Record, Seen},
    slot::Slot,
    store::Store,
};
use crate::{
    session::{Session, Sessions, Standing},
    token::Tokens,
};
use mesh_kit::clock::{BootClock, BootTime};

/// So long after it has read what is held nobody gets that: those who waited before are on their way back, and try again after half a second at the latest.
const SETTLE: Duration = Duration::from_secs(1);
/// So many keys are held or wanted at the same time.
const MAX_KEYS: usize = 100_000;

/// Between two lines in the log that tell that too many ask.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Whose locks they are.
#[derive(Clone)]
pub struct Options {
    /// What keeps them.
    pub store: Store,
    /// The node whose instances ask; none if no instances do.
    pub agent: Option<String>,
    /// Which runs live here.
    pub sessions: Sessions,
    /// Signs what those who wait get, so that it is known again.
    pub tokens: Tokens,
    /// Counts what is held and wanted.
    pub metrics: LockMetrics,
    /// The system's, but in tests.
    pub clock: BootClock,
    /// What the boot of the machine is taken for in tickets. Nothing, where one agent gives them; the time of day that it was at, where several do: then who comes to
    /// another agent with a ticket has a place there that is about its own.
    pub boot: Duration,
}

/// Locks, and the task that keeps them until nobody can ask any more.
pub fn keep(options: Options) -> (Locks, impl Future<Output = Result<(), Infallible>> + Send + 'static) {
    let (synced, sync) = watch::channel(false);
    let (locks, asked) = Locks::new(sync, options.tokens.clone(), options.clock.clone(), options.boot);
    (locks, Keeper::new(options, synced).run(asked))
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
    Waits(mpsc::Sender<News>),
    Steps(oneshot::Sender<Result<Done, Refusal>>),
}

/// The task.
struct Keeper {
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
    /// When it was last told that too many ask.
    told: Option<BootTime>,
}

/// What came of a call.
enum Called {
    Read(Result<Record, Failed>),
    Wrote(Result<Record, Failed>),
}

impl Keeper {
    fn new(options: Options, synced: watch::Sender<bool>) -> Self {
        let started = options.clock.now();
        Self {
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
            told: None,
        }
    }

    async fn run(mut self, mut asked: Asked) -> Result<(), Infallible> {
        let mut watched = self.options.store.watch();
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
            tokio::select! {
                order = asked.orders.recv() => match order {
                    Some(order) => self.heed(order),
                    // Nobody can ask any more.
                    None => return Ok(()),
                },
                Some(order) = asked.left.recv() => self.heed(order),
                Some(seen) = watched.next() => self.see(seen),
                Some((key, called)) = self.calls.next() => self.called(&key, called),
                // What is read meanwhile may be of runs that have ended before.
                Ok(()) = changes.changed(), if *self.synced.borrow() => self.runs(),
                () = &mut wake => {}
            }
            self.wake();
        }
    }

    fn heed(&mut self, order: Order) {
        match order {
            Order::Ask { key, waiter, news } => {
                if self.entries.len() >= MAX_KEYS && !self.entries.contains_key(&key) {
                    self.busy(&key);
                    // Whoever asked may be gone already.
                    let _ = news.try_send(News::Refused(Refusal::Busy));
                    return;
                }
                let settled = self.settled;
                if waiter.ticket < micros(self.options.boot, self.started) {
                    self.entry(&key).slot.settle(settled);
                }
                self.askers.insert(waiter.id, (waiter.session.clone(), Asker::Waits(news)));
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
            Order::Get { key, answer } => {
                let now = self.options.clock.now();
                let _ = answer.send(self.entries.get(&key).and_then(|entry| entry.slot.holding(now)).cloned());
            }
            Order::Observe { key, answer } => {
                self.forget_unobserved();
                let now = self.options.clock.now();
                let entry = self.entry(&key);
                let holding = entry.slot.holding(now).cloned();
                let observers = entry.observers.get_or_insert_with(|| watch::Sender::new(holding));
                let _ = answer.send(observers.subscribe());
                self.step(&key, Message::Wake);
            }
        }
    }

    /// Forgets the keys that were kept only for those who looked on, and do so no more.
    fn forget_unobserved(&mut self) {
        let unobserved = |entry: &Entry| entry.observers.as_ref().is_some_and(watch::Sender::is_closed);
        self.entries.retain(|_, entry| !(unobserved(entry) && entry.slot.is_idle()));
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
                        let call = self.options.store.clone().read(key.clone());
                        self.calls.push(call.map(|(key, result)| (key, Called::Read(result))).boxed());
                    }
                    Command::Write(revision, change) => {
                        let call = self.options.store.clone().write(key.clone(), revision, change, self.options.agent.clone());
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
            (Asker::Waits(news), Ok(Done::Queued(position))) => {
                // A full channel has the next of its news in it already.
                let _ = news.try_send(News::Queued { position });
                self.askers.insert(id, (session, Asker::Waits(news)));
            }
            (Asker::Waits(news), Ok(Done::Held(holding))) => {
                self.options.metrics.acquired(key.kind);
                let fence = holding.fence;
                let following = self.entry(key).follow(fence);
                if news.try_send(News::Held(holding, following)).is_err() {
                    return Some(Message::Release(id, session, fence));
                }
            }
            (Asker::Waits(_), Ok(Done::Released)) => {}
            (Asker::Waits(news), Err(refusal)) => {
                if refusal == Refusal::Busy {
                    self.busy(key);
                }
                drop(news.try_send(News::Refused(refusal)));
            }
        }
        None
    }

    /// Counts one who is refused because there are too many, and tells of it now and then.
    fn busy(&mut self, key: &Key) {
        self.options.metrics.busy();
        let now = self.options.clock.now();
        if self.told.is_none_or(|told| now >= told + TOLD_AGAIN) {
            self.told = Some(now);
            tracing::warn!(%key, keys = self.entries.len(), "locks: too many wait for this key, or too many keys are in use; told once a minute");
        }
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

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Listing => self.listed.clear(),
            Seen::Listed(key, record) => {
                self.listed.insert(key.clone());
                self.seen(&key, record);
            }
            Seen::AllListed => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<Key> = self.entries.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    self.step(&key, Message::Doubt);
                }
                if !self.synced.send_replace(true) {
                    self.settled = self.options.clock.now() + SETTLE;
                    for entry in self.entries.values_mut().filter(|entry| entry.slot.record().holding.is_some()) {
                        entry.slot.settle(self.settled);
                    }
                }
                self.runs();
            }
            Seen::Changed(key, record) => {
                if record.exists || self.entries.contains_key(&key) {
                    self.seen(&key, record);
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
        let Some(session) = record.session() else { return Standing::Unknown };
        match self.options.sessions.standing(&session) {
            Standing::Unknown if self.is_missing(&session, record) => Standing::Ended,
            standing => standing,
        }
    }

    /// Whether the run would be one of this agent, which has none like it.
    fn is_missing(&self, session: &Session, record: &Record) -> bool {
        self.options.agent.is_some() && self.options.agent == record.agent && self.options.sessions.is_missing(session)
    }

    fn called(&mut self, key: &Key, called: Called) {
        let (Called::Read(result) | Called::Wrote(result)) = &called;
        match result {
            Err(Failed::Away(why) | Failed::Refused(why)) if self.trouble.as_ref() != Some(why) => {
                tracing::warn!(error = why, %key, "locks: {} does not answer, or refuses", self.options.store.name());
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
        let news = self.options.sessions.take_news();
        let mut told = Vec::new();
        for (key, entry) in &self.entries {
            for session in entry.slot.sessions() {
                let standing = match news.of(&session) {
                    Some(Standing::Unknown) if self.is_missing(&session, entry.slot.record()) => Standing::Ended,
                    Some(standing) => standing,
                    None => continue,
                };
                told.push((key.clone(), session, standing));
            }
        }
        for (key, session, standing) in told {
            self.step(&key, Message::Run(session, standing));
        }
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
