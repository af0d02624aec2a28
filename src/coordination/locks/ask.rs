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
use crate::session::Session;
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
    /// The handle, and what its task hears.
    pub(super) fn new(synced: watch::Receiver<bool>, clock: BootClock, boot: Duration) -> (Self, Asked) {
        let (orders, heard) = mpsc::channel(ORDERS);
        let (leaving, left) = mpsc::unbounded_channel();
        (Self { orders, leaving, ids: Arc::default(), tickets: Arc::default(), synced, clock, boot }, Asked { orders: heard, left })
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
        let ticket = ask.ticket.unwrap_or_else(|| self.ticket(now));
        let until = ask.wait.map(|wait| now + wait);
        let waiter = Waiter { id, session: session.clone(), ticket, ttl: ask.ttl, until, metadata: ask.metadata };
        let (sender, news) = mpsc::channel(2);
        self.send(Order::Ask { key: key.clone(), waiter, news: sender }).await?;
        Ok(Waiting { key, id, session, news, leaving: self.leaving.clone() })
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

/// A moment as a ticket, where the machine's boot counts as that.
pub(super) fn micros(boot: Duration, time: BootTime) -> u64 {
    u64::try_from((boot + time.since_boot()).as_micros()).unwrap_or(u64::MAX)
}

fn ending() -> Refusal {
    Refusal::Unavailable("this agent is ending".to_owned())
}
