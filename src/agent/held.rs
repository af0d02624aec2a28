//! Locks and leaders: one set of requests for both, each with its own words.
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    answer::{self, Body},
    ask,
    problem::Problem,
    stream::{Source, event, stream},
};
use mesh_coordination::{
    locks::{Following, Holding, Key, Kind, Locks, Loss, News, Observing, Waiting},
    token::Caller,
};

/// One key, as one caller asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) locks: Locks,
    pub(crate) caller: Caller,
    pub(crate) key: Key,
}

impl Held {
    /// Asks for it, and answers once.
    pub(crate) async fn acquire(self, body: &[u8]) -> Result<Response<Body>, Problem> {
        let mut waiting = self.ask(body, Some(Duration::ZERO)).await?;
        loop {
            match waiting.next().await {
                Some(News::Queued { .. }) => {}
                Some(News::Held(holding, _)) => return Ok(answer::json(StatusCode::CREATED, &value(&self.key, &holding))),
                Some(News::Refused(refusal)) => return Err(Problem::refused(&what(&self.key), &refusal)),
                None => return Err(ending()),
            }
        }
    }

    /// Asks for it, and tells what becomes of that until it is over.
    pub(crate) async fn acquire_events(self, body: &[u8]) -> Result<Response<Body>, Problem> {
        let wait = match self.key.kind {
            Kind::Lock => Some(Duration::ZERO),
            Kind::Leader => None,
        };
        let waiting = self.ask(body, wait).await?;
        Ok(answer::events(stream(Acquisition { key: self.key, state: State::Waits(waiting) })))
    }

    async fn ask(&self, body: &[u8], wait: Option<Duration>) -> Result<Waiting, Problem> {
        let asked = ask::ask(body, wait)?;
        let waiting = self.locks.ask(self.key.clone(), self.caller.session.clone(), asked).await;
        waiting.map_err(|refusal| Problem::refused(&what(&self.key), &refusal))
    }

    pub(crate) async fn renew(self, body: &[u8]) -> Result<Response<Body>, Problem> {
        let fence = ask::renewal(body)?;
        let renewed = self.locks.renew(self.key.clone(), self.caller.session.clone(), fence).await;
        let holding = renewed.map_err(|refusal| Problem::refused(&what(&self.key), &refusal))?;
        Ok(answer::json(StatusCode::OK, &value(&self.key, &holding)))
    }

    pub(crate) async fn release(self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let fence = ask::fence(query)?.ok_or_else(ask::no_fence)?;
        let released = self.locks.release(self.key.clone(), self.caller.session.clone(), fence).await;
        released.map_err(|refusal| Problem::refused(&what(&self.key), &refusal))?;
        Ok(answer::empty())
    }

    /// Who holds it.
    pub(crate) async fn look(self) -> Result<Response<Body>, Problem> {
        let found = self.locks.get(self.key.clone()).await.map_err(|refusal| Problem::refused(&what(&self.key), &refusal))?;
        let holding = found.ok_or_else(|| Problem::not_found(format!("nobody holds {}", what(&self.key))))?;
        Ok(answer::json(StatusCode::OK, &value(&self.key, &holding)))
    }

    /// Follows an acquisition of one's own, or looks on who leads.
    pub(crate) async fn look_events(self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        if let Some(fence) = ask::fence(query)? {
            let followed = self.locks.follow(self.key.clone(), self.caller.session.clone(), fence).await;
            let (holding, following) = followed.map_err(|refusal| Problem::refused(&what(&self.key), &refusal))?;
            let first = event("acquired", &value(&self.key, &holding));
            return Ok(answer::events(stream(Acquisition { key: self.key, state: State::Resumed(first, fence, following) })));
        }
        if self.key.kind == Kind::Lock {
            return Err(ask::no_fence());
        }
        let observing = self.locks.observe(self.key.clone()).await.map_err(|refusal| Problem::refused(&what(&self.key), &refusal))?;
        Ok(answer::events(stream(Leaders { key: self.key, observing, told: false })))
    }
}

/// All of a kind in the caller's namespace.
pub(crate) async fn list(locks: &Locks, namespace: &str, kind: Kind) -> Result<Response<Body>, Problem> {
    let held = locks.list(namespace, kind).await.map_err(|refusal| Problem::refused("the list", &refusal))?;
    let items: Vec<Value> = held.iter().map(|(name, holding)| Value::Object(holding.shown(kind, name))).collect();
    Ok(answer::json(StatusCode::OK, &json!({ "items": items })))
}

fn what(key: &Key) -> String {
    key.kind.named(&key.name)
}

fn value(key: &Key, holding: &Holding) -> Value {
    Value::Object(holding.shown(key.kind, &key.name))
}

fn ending() -> Problem {
    Problem::unavailable("this agent is ending")
}

/// What becomes of one request for a key.
struct Acquisition {
    key: Key,
    state: State,
}

enum State {
    Waits(Waiting),
    /// To be told at once.
    Resumed(Bytes, u64, Following),
    Holds(u64, Following),
    Over,
}

impl Source for Acquisition {
    async fn next(&mut self) -> Option<Bytes> {
        let (told, next) = match &mut self.state {
            State::Waits(waiting) => match waiting.next().await {
                Some(News::Queued { position }) => {
                    return Some(event("queued", &json!({ "ticket": waiting.ticket(), "position": position })));
                }
                Some(News::Held(holding, following)) => {
                    (event("acquired", &value(&self.key, &holding)), State::Holds(holding.fence, following))
                }
                Some(News::Refused(refusal)) => (event("problem", &Problem::refused(&what(&self.key), &refusal).to_value()), State::Over),
                None => (event("problem", &ending().to_value()), State::Over),
            },
            State::Resumed(..) => {
                let State::Resumed(first, fence, following) = std::mem::replace(&mut self.state, State::Over) else { return None };
                (first, State::Holds(fence, following))
            }
            State::Holds(fence, following) => {
                let fence = *fence;
                // Without a reason this agent ends; the acquisition does not.
                let loss = following.await.ok()?;
                (over(&self.key, fence, loss), State::Over)
            }
            State::Over => return None,
        };
        self.state = next;
        Some(told)
    }
}

fn over(key: &Key, fence: u64, loss: Loss) -> Bytes {
    let field = key.kind.field();
    if loss == Loss::Released {
        return event("released", &json!({ field: key.name, "fence": fence }));
    }
    let detail = format!("{}: {loss}", what(key));
    event("lost", &json!({ field: key.name, "fence": fence, "reason": loss.as_str(), "detail": detail }))
}

/// Who leads, at each change.
struct Leaders {
    key: Key,
    observing: Observing,
    told: bool,
}

impl Source for Leaders {
    async fn next(&mut self) -> Option<Bytes> {
        if std::mem::replace(&mut self.told, true) {
            self.observing.changed().await.ok()?;
        }
        let leads = self.observing.borrow_and_update().clone();
        Some(leads.map_or_else(|| event("none", &json!({})), |leads| event("leader", &value(&self.key, &leads))))
    }
}
