//! Asking for locks: the handle, what one who asks learns, and what the task that keeps them is told.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    Holding, Key, Kind, Loss, Refusal,
    message::{Done, Id, Message, Waiter},
};
use crate::{session::Session, token::Tokens};
use mesh_kit::clock::{BootClock, BootTime};

/// Requests that wait for their turn; more wait before they enter.
const ORDERS: usize = 1024;

/// Asks for locks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Locks {
    orders: mpsc::Sender<Order>,
    /// Of those who are gone: never more than there are askers.
    leaving: mpsc::UnboundedSender<Order>,
    ids: Arc<AtomicU64>,
    tickets: Arc<AtomicU64>,
    synced: watch::Receiver<bool>,
    tokens: Tokens,
    clock: BootClock,
    boot: Duration,
}

/// What the task hears.
#[derive(Debug)]
pub(super) struct Asked {
    /// Requests.
    pub(super) orders: mpsc::Receiver<Order>,
    /// Word of those who are gone.
    pub(super) left: mpsc::UnboundedReceiver<Order>,
}

/// What is asked of the task.
#[derive(Debug)]
pub(super) enum Order {
    Ask { key: Key, waiter: Waiter, news: mpsc::Sender<News> },
    Step { key: Key, message: Message, answer: Option<oneshot::Sender<Result<Done, Refusal>>> },
    Follow { key: Key, session: Session, fence: u64, answer: oneshot::Sender<Result<(Holding, Following), Loss>> },
    List { namespace: String, kind: Kind, answer: oneshot::Sender<Vec<(String, Holding)>> },
    Get { key: Key, answer: oneshot::Sender<Option<Holding>> },
    Observe { key: Key, answer: oneshot::Sender<Observing> },
}

/// What one who asked for a key learns, in this order.
#[derive(Debug)]
pub enum News {
    /// It waits, at this place.
    Queued {
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
    ticket: String,
    news: mpsc::Receiver<News>,
    leaving: mpsc::UnboundedSender<Order>,
}

impl Waiting {
    /// Keeps its place when it asks again for the same key.
    pub fn ticket(&self) -> &str {
        &self.ticket
    }

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
    /// Of one who asked before. One that this run was not given for this key is as none.
    pub ticket: Option<String>,
}

impl Locks {
    /// The handle, and what its task hears.
    pub(super) fn new(synced: watch::Receiver<bool>, tokens: Tokens, clock: BootClock, boot: Duration) -> (Self, Asked) {
        let (orders, heard) = mpsc::channel(ORDERS);
        let (leaving, left) = mpsc::unbounded_channel();
        (Self { orders, leaving, ids: Arc::default(), tickets: Arc::default(), synced, tokens, clock, boot }, Asked { orders: heard, left })
    }

    /// Waits until all Leases were read, before which nothing should be asked; true if that has come about in time.
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
        let of = [key.namespace.as_str(), key.kind.as_str(), &key.name, &session.to_string()].map(str::to_owned);
        let ticket = ask.ticket.and_then(|ticket| self.known(&of, &ticket)).unwrap_or_else(|| self.ticket(now));
        let signed = self.signed(&of, ticket);
        let until = ask.wait.map(|wait| now + wait);
        let waiter = Waiter { id, session: session.clone(), ticket, ttl: ask.ttl, until, metadata: ask.metadata };
        let (sender, news) = mpsc::channel(2);
        self.send(Order::Ask { key: key.clone(), waiter, news: sender }).await?;
        Ok(Waiting { key, id, session, ticket: signed, news, leaving: self.leaving.clone() })
    }

    /// A ticket as whoever waits is given it: signed, so that nobody makes one up to be served first.
    fn signed(&self, of: &[String], ticket: u64) -> String {
        format!("{ticket}.{}", self.tokens.sign(&said(of, ticket)))
    }

    /// The ticket that is signed so, if it was given for this.
    fn known(&self, of: &[String], signed: &str) -> Option<u64> {
        let (ticket, mac) = signed.split_once('.')?;
        let ticket = ticket.parse().ok()?;
        self.tokens.is_signed(&said(of, ticket), mac).then_some(ticket)
    }

    /// The next ticket. By a clock that goes on over a restart of this process, so that who asks again with its own is at its old place.
    fn ticket(&self, now: BootTime) -> u64 {
        let micros = micros(self.boot, now);
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

    /// Who holds a key.
    ///
    /// # Errors
    /// The process ends.
    pub async fn get(&self, key: Key) -> Result<Option<Holding>, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.send(Order::Get { key, answer: sender }).await?;
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

/// What is signed: no part of it has a line break.
fn said(of: &[String], ticket: u64) -> String {
    format!("ticket\n{}\n{ticket}", of.join("\n"))
}

/// A moment as a ticket, where the machine's boot counts as that.
pub(super) fn micros(boot: Duration, time: BootTime) -> u64 {
    u64::try_from((boot + time.since_boot()).as_micros()).unwrap_or(u64::MAX)
}

fn ending() -> Refusal {
    Refusal::Unavailable("this agent is ending".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "shop".into(), kind: Kind::Lock, name: name.into() }
    }

    fn run(attempt: u32) -> Session {
        Session { instance: "web".into(), uid: "u-1".into(), attempt }
    }

    #[tokio::test]
    async fn a_ticket_keeps_its_place_for_who_was_given_it_and_is_none_for_others_and_for_other_keys() {
        let tokens = Tokens::random();
        // Two agents, the second of which is the first after a restart.
        let agents = [(); 2].map(|()| Locks::new(watch::channel(true).1, tokens.clone(), BootClock::system(), Duration::ZERO));
        let [(first, mut heard), (then, mut heard_then)] = agents;
        let ask = |ticket: Option<&str>| Ask {
            ttl: Duration::from_secs(30),
            wait: None,
            metadata: Map::new(),
            ticket: ticket.map(str::to_owned),
        };
        let place = |asked: &mut Asked| match asked.orders.try_recv().unwrap() {
            Order::Ask { waiter, .. } => waiter.ticket,
            other => panic!("{other:?}"),
        };
        let waiting = first.ask(key("k"), run(0), ask(None)).await.unwrap();
        let (ticket, given) = (waiting.ticket(), place(&mut heard));
        let mut asked_again = async |key, session, ticket: &str| {
            drop(then.ask(key, session, ask(Some(ticket))).await.unwrap());
            place(&mut heard_then)
        };
        assert_eq!(asked_again(key("k"), run(0), ticket).await, given);
        let mac = ticket.split_once('.').unwrap().1;
        for (key, session, ticket) in [
            (key("other"), run(0), ticket),
            (key("k"), run(1), ticket),
            (key("k"), run(0), "1"),
            (key("k"), run(0), "1."),
            (key("k"), run(0), &format!("1.{mac}")),
        ] {
            assert!(asked_again(key, session, ticket).await > given, "{ticket}");
        }
    }
}
