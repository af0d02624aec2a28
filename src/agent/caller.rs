//! Who asks: the token, and whether what it is of still lives.
mod instance;
mod pod;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, header};

use self::{instance::Instances, pod::PodsOfCluster};
use crate::{limits::Limits, problem::Problem};
use mesh_coordination::{
    pods::Pods,
    review::Reviews,
    session::{Session, Sessions},
    token::{Caller, Tokens},
};
use mesh_kit::descriptors;

/// A program may ask before its agent has seen it run; and after a start of the agent all have to be seen first.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of all connections that there may be, the part that is no place for a request: there it is told that there is none.
const TOLD: usize = 8;

/// Lets programs in.
#[derive(Debug, Clone)]
pub struct Gate {
    programs: Programs,
    limits: Limits,
    /// So many connections there may be.
    connections: usize,
    /// How many requests of each instance are under way, by uid.
    under_way: Arc<Mutex<HashMap<String, usize>>>,
}

/// Whose programs they are.
#[derive(Debug, Clone)]
enum Programs {
    Instances(Instances),
    Pods(PodsOfCluster),
}

/// That of a request that is under way.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Gate,
    uid: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.gate.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.uid) {
            *count -= 1;
            self.gate.limits.under_way.dec();
            if *count == 0 {
                under_way.remove(&self.uid);
            }
        }
    }
}

impl Gate {
    /// For instances on this machine, whose tokens these are, while they live.
    pub fn of_node(tokens: Tokens, sessions: Sessions, limits: Limits) -> Self {
        Self::of(Programs::Instances(Instances { tokens, sessions }), limits)
    }

    /// For pods of a cluster, whose tokens its API knows, while they live.
    pub fn of_cluster(reviews: Reviews, pods: Pods, limits: Limits) -> Self {
        Self::of(Programs::Pods(PodsOfCluster { reviews, pods }), limits)
    }

    fn of(programs: Programs, limits: Limits) -> Self {
        Self { programs, limits, connections: descriptors::share(descriptors::limit()), under_way: Arc::default() }
    }

    /// So many connections there may be.
    pub(crate) const fn connections(&self) -> usize {
        self.connections
    }

    /// What is hit where there are more.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place for one more request of an instance, which may have as many as are free then (a dynamic threshold: Choudhury and Hahne 1998):
    /// however many some ask for, there is one for the next.
    fn place(&self, session: &Session) -> Result<Place, Problem> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = under_way.values().sum();
        let free = (self.connections - self.connections / TOLD).saturating_sub(all);
        let count = under_way.get(&session.uid).copied().unwrap_or_default();
        if count >= free {
            let why = format!(
                "{count} requests of this instance are under way, and {free} places are free: it waits for, or follows, too much at once"
            );
            self.limits.refused(&session.instance, &why);
            return Err(Problem::busy(why));
        }
        under_way.insert(session.uid.clone(), count + 1);
        self.limits.under_way.inc();
        Ok(Place { gate: self.clone(), uid: session.uid.clone() })
    }

    /// Who sends these headers, and a place for what it asks, if that may be held open: who renews or releases what it holds must never be kept from it.
    pub(crate) async fn enter(&self, headers: &HeaderMap, held_open: bool) -> Result<(Caller, Option<Place>), Problem> {
        let token = bearer(headers)?;
        match &self.programs {
            Programs::Instances(instances) => {
                let caller = instances.known(token)?;
                let place = held_open.then(|| self.place(&caller.session)).transpose()?;
                instances.lives(caller).await.map(|caller| (caller, place))
            }
            Programs::Pods(pods) => {
                let caller = pods.caller(token).await?;
                let place = held_open.then(|| self.place(&caller.session)).transpose()?;
                Ok((caller, place))
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing =
        || Problem::unauthorized("there is no token", "send Authorization: Bearer with the content of the file that MESH_TOKEN_FILE names");
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(missing)?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() { Ok(token.trim()) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_much_some_ask_for_there_is_a_place_for_the_next_and_it_is_counted_who_is_refused() {
        let gate = Gate { connections: 640, ..Gate::of_node(Tokens::random(), Sessions::default(), Limits::default()) };
        let most = |name: &str| {
            let session = Session { instance: name.to_owned(), uid: name.to_owned(), attempt: 0 };
            std::iter::from_fn(|| gate.place(&session).ok()).collect::<Vec<_>>()
        };
        let greedy = ["a", "b", "c", "d"].map(most);
        assert_eq!(greedy.each_ref().map(Vec::len), [280, 140, 70, 35]);
        assert_eq!(most("e").len(), 18);
        assert_eq!(gate.limits.under_way.get(), 525);
        drop(greedy);
        assert_eq!((gate.limits.under_way.get(), most("a").len()), (0, 280));
    }
}
