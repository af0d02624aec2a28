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
use crate::problem::Problem;
use mesh_coordination::{
    pods::Pods,
    review::Reviews,
    session::Sessions,
    token::{Caller, Tokens},
};

/// A program may ask before its agent has seen it run; and after a start of the agent all have to be seen first.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many requests of one instance may be under way: one that asks for more does not take the places of the others.
const AT_ONCE: usize = 400;

/// Lets programs in.
#[derive(Debug, Clone)]
pub struct Gate {
    programs: Programs,
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
            if *count == 0 {
                under_way.remove(&self.uid);
            }
        }
    }
}

impl Gate {
    /// For instances on this machine, whose tokens these are, while they live.
    pub fn of_node(tokens: Tokens, sessions: Sessions) -> Self {
        Self { programs: Programs::Instances(Instances { tokens, sessions }), under_way: Arc::default() }
    }

    /// For pods of a cluster, whose tokens its API knows, while they live.
    pub fn of_cluster(reviews: Reviews, pods: Pods) -> Self {
        Self { programs: Programs::Pods(PodsOfCluster { reviews, pods }), under_way: Arc::default() }
    }

    /// A place for one more request of an instance.
    pub(crate) fn place(&self, caller: &Caller) -> Result<Place, Problem> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(caller.session.uid.clone()).or_default();
        if *count >= AT_ONCE {
            return Err(Problem::busy(format!(
                "{AT_ONCE} requests of this instance are under way: it waits for, or follows, too much at once"
            )));
        }
        *count += 1;
        Ok(Place { gate: self.clone(), uid: caller.session.uid.clone() })
    }

    /// Who sends these headers.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let token = bearer(headers)?;
        match &self.programs {
            Programs::Instances(instances) => instances.caller(token).await,
            Programs::Pods(pods) => pods.caller(token).await,
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
