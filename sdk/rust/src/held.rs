//! What is held, and kept: renewed in the background, followed on a stream, and given up in time.
use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{
    Holding, Options, asked,
    wire::{Agent, Error, Event, Events, Lost},
};

/// Pauses after an agent did not answer.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

#[derive(Debug, Clone)]
enum State {
    Until(Instant),
    Lost(Lost),
}

/// A key that is held. Dropped without a release it is renewed no longer, and free when its ttl is over or its program ends.
#[derive(Debug)]
pub struct Held {
    agent: Agent,
    path: String,
    holding: Holding,
    state: watch::Receiver<State>,
    keeper: JoinHandle<()>,
}

impl Held {
    pub(crate) async fn acquire(agent: Agent, path: String, options: &Options) -> Result<Self, Error> {
        let end = options.wait.map(|wait| Instant::now() + wait);
        let (mut ticket, mut pause) = (None, AGAIN.0);
        loop {
            let (sent, left) = (Instant::now(), end.map(|end| end.saturating_duration_since(Instant::now())));
            let failed = match agent.events("POST", &path, Some(asked(options, left, ticket.as_ref()))).await {
                Ok(events) => match acquired(events, &mut ticket).await {
                    Ok((holding, events)) => return Self::begin(agent, path, holding, events, sent, options.ttl).await,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match failed {
                // A day of waiting is over, and it goes on.
                Error::Held(_) if end.is_none() => {}
                error if !error.is_passing() || end.is_some_and(|end| Instant::now() >= end) => return Err(error),
                _ => {
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
        }
    }

    async fn begin(agent: Agent, path: String, holding: Holding, events: Events, sent: Instant, ttl: Duration) -> Result<Self, Error> {
        let (state, seen) = watch::channel(State::Until(sent + ttl));
        let keeper = Keeper { agent: agent.clone(), path: path.clone(), fence: holding.fence, ttl, state, events: Some(events) };
        if sent.elapsed() > ttl / 3 {
            // It waited. When the agent wrote it is not known here, but when this renewal is sent is.
            keeper.renew().await?;
        }
        #[expect(clippy::disallowed_methods, reason = "its owner is the value that is returned")]
        let keeper = tokio::spawn(keeper.run());
        Ok(Self { agent, path, holding, state: seen, keeper })
    }

    /// Grows with every acquisition of the key: what a store that is written to has to check.
    pub fn fence(&self) -> u64 {
        self.holding.fence
    }

    /// As it was acquired.
    pub fn holding(&self) -> &Holding {
        &self.holding
    }

    /// Whether it is held, by this program's own clock.
    pub fn is_held(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    /// Until when it is held, by this program's own clock, unless it is renewed again; none once it is lost.
    pub fn until(&self) -> Option<Instant> {
        match &*self.state.borrow() {
            State::Until(until) => Some(*until),
            State::Lost(_) => None,
        }
    }

    /// Waits until it is renewed past `known`, and gives until when it is held then. Without an end once it is lost.
    pub async fn renewed(&self, known: Instant) -> Instant {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Until(until) if *until > known => return *until,
                State::Until(_) | State::Lost(_) => {}
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it is lost.
    pub async fn lost(&self) -> Lost {
        let mut state = self.state.clone();
        loop {
            let until = match &*state.borrow_and_update() {
                State::Lost(lost) => return lost.clone(),
                State::Until(until) => *until,
            };
            tokio::select! {
                () = sleep_until(until) => return Lost::named("Expired"),
                changed = state.changed() => if changed.is_err() {
                    sleep_until(until).await;
                    return Lost::named("Expired");
                }
            }
        }
    }

    /// Gives it back, so that the next one has it. Tried until the ttl is over; then it is free in any case.
    pub async fn release(self) {
        self.keeper.abort();
        let Some(until) = self.until() else { return };
        let path = format!("{}?fence={}", self.path, self.holding.fence);
        while let Ok(Err(error)) = timeout_at(until, self.agent.ask::<Value>("DELETE", &path, None)).await {
            if !error.is_passing() {
                return;
            }
            sleep(AGAIN.1).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Reads until it is acquired.
async fn acquired(mut events: Events, ticket: &mut Option<Value>) -> Result<(Holding, Events), Error> {
    while let Some(Event { name, data }) = events.next().await {
        let unreadable = |error: serde_json::Error| Error::Unreachable(error.to_string());
        match name.as_str() {
            "queued" => *ticket = data.get("ticket").cloned(),
            "acquired" => return Ok((serde_json::from_value(data).map_err(unreadable)?, events)),
            "problem" => return Err(serde_json::from_value::<crate::Problem>(data).map_err(unreadable)?.into()),
            // Of a later agent.
            _ => {}
        }
    }
    Err(Error::Unreachable("the connection ended".to_owned()))
}

/// Keeps what is held.
struct Keeper {
    agent: Agent,
    path: String,
    fence: u64,
    ttl: Duration,
    state: watch::Sender<State>,
    events: Option<Events>,
}

impl Keeper {
    async fn run(mut self) {
        let lost = loop {
            let State::Until(until) = *self.state.borrow() else { return };
            // A third of the ttl after the last renewal was sent.
            let next = until - self.ttl * 2 / 3;
            let lost = tokio::select! {
                () = sleep_until(next) => self.renew_until(until).await.err(),
                lost = told(&mut self.events) => match lost {
                    Some(lost) => Some(lost),
                    None => { self.reopen(next).await }
                },
            };
            if let Some(lost) = lost {
                break lost;
            }
        };
        self.state.send_replace(State::Lost(lost));
    }

    /// Renews it, however often that has to be tried before the end.
    async fn renew_until(&self, until: Instant) -> Result<(), Lost> {
        let mut pause = AGAIN.0;
        loop {
            match timeout_at(until, self.renew()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Error::Lost(lost))) => return Err(lost),
                Ok(Err(_)) if Instant::now() + pause < until => {
                    sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
                Ok(Err(_)) | Err(_) => return Err(Lost::named("Expired")),
            }
        }
    }

    async fn renew(&self) -> Result<(), Error> {
        let sent = Instant::now();
        let _: Holding = self.agent.ask("PUT", &self.path, Some(json!({ "fence": self.fence }))).await?;
        self.state.send_replace(State::Until(sent + self.ttl));
        Ok(())
    }

    /// Follows it anew, after the agent has gone; a renewal that is due comes first.
    async fn reopen(&mut self, due: Instant) -> Option<Lost> {
        self.events = None;
        if timeout_at(due, sleep(AGAIN.1)).await.is_err() {
            return None;
        }
        let path = format!("{}?fence={}", self.path, self.fence);
        match self.agent.events("GET", &path, None).await {
            Ok(events) => self.events = Some(events),
            Err(Error::Lost(lost)) => return Some(lost),
            Err(_) => {}
        }
        None
    }
}

/// Waits for the word that it is lost; none if the stream has ended without one.
async fn told(events: &mut Option<Events>) -> Option<Lost> {
    let open = events.as_mut()?;
    while let Some(Event { name, data }) = open.next().await {
        match name.as_str() {
            "lost" => return Some(Lost::named(data.get("reason").and_then(Value::as_str).unwrap_or("Unknown"))),
            "released" => return Some(Lost::named("Released")),
            _ => {}
        }
    }
    None
}
