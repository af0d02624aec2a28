//! Which endpoint gets a request. Pure: the time, a random number and what was tried already come in as values.
use std::sync::{Arc, atomic::Ordering};

use super::{endpoint::Endpoint, table::Service};
use crate::api::service::Strategy;

/// From so many endpoints on, two at random are compared instead of all.
const COMPARE_ALL: usize = 32;

/// What the choice depends on besides the service.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Milliseconds of the router's clock, for ejections.
    pub now: u64,
    /// Any number.
    pub random: u64,
    /// Live ids of endpoints that this request was refused by already.
    pub tried: &'a [u64],
}

/// An endpoint for a new request or session: a ready one that connects; else a ready one; else, as a last resort, one that is ending and serves.
pub fn pick<'a>(service: &'a Service, choice: &Choice<'_>) -> Option<&'a Arc<Endpoint>> {
    let turn = match service.strategy {
        Strategy::LeastConnections => usize::try_from(choice.random >> 33).unwrap_or(0),
        Strategy::RoundRobin | Strategy::SessionAffinity => service.turn.fetch_add(1, Ordering::Relaxed),
    };
    let least = service.strategy == Strategy::LeastConnections;
    let untried = |e: &Endpoint| !choice.tried.contains(&e.live.id) && !e.live.is_closed();
    choose(&service.ready, turn, least, |e| untried(e) && !e.live.is_ejected(choice.now))
        .or_else(|| choose(&service.ready, turn, least, untried))
        .or_else(|| if service.last_resort { choose(&service.terminating, turn, least, untried) } else { None })
}

/// From the turn on, the first that will do; or of all that will do, the one with the least under way.
fn choose(endpoints: &[Arc<Endpoint>], turn: usize, least: bool, will_do: impl Fn(&Endpoint) -> bool) -> Option<&Arc<Endpoint>> {
    let start = turn.checked_rem(endpoints.len())?;
    let (before, from) = endpoints.split_at_checked(start)?;
    let mut able = from.iter().chain(before).filter(|e| will_do(e));
    if !least {
        return able.next();
    }
    let compared = if endpoints.len() > COMPARE_ALL { 2 } else { COMPARE_ALL };
    able.take(compared).min_by_key(|e| e.live.in_flight())
}
