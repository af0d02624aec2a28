//! Which endpoint gets a request. Pure: the time, a random number and what was tried already come in as values.
use std::sync::{Arc, atomic::Ordering};

use super::{endpoint::Endpoint, table::Service};
use mesh_api::service::Strategy;

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

/// An endpoint for a new request or session: a ready one that connects; else a ready one; else, as a last resort, one that is ending and serves, or one
/// of a node that the cluster lost.
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
        .or_else(|| choose(&service.stranded, turn, least, untried))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::fixture::{endpoint, service};

    fn choice(tried: &[u64]) -> Choice<'_> {
        Choice { now: 0, random: 0, tried }
    }

    fn names(service: &Service, count: usize, tried: &[u64]) -> String {
        (0..count).map(|_| pick(service, &choice(tried)).map_or("-", |e| e.instance.name.as_str())).collect()
    }

    #[test]
    fn everyone_gets_a_turn_but_those_that_were_tried_closed_or_do_not_connect() {
        let service = service(Strategy::RoundRobin, vec![endpoint("a", 1), endpoint("b", 2), endpoint("c", 3)], vec![]);
        assert_eq!(names(&service, 6, &[]), "abcabc");
        assert_eq!(names(&service, 6, &[1]), "bbcbbc");
        service.ready[1].live.close();
        assert_eq!(names(&service, 3, &[1]), "ccc");
        service.ready[2].live.connect_failed(0);
        assert_eq!(names(&service, 3, &[]), "aaa");
        assert_eq!(names(&service, 3, &[1]), "ccc", "all others are out: one that did not connect is better than none");
        assert_eq!(names(&service, 1, &[1, 3]), "-");
    }

    #[test]
    fn the_one_with_the_least_under_way_gets_it() {
        let service = service(Strategy::LeastConnections, vec![endpoint("a", 1), endpoint("b", 2)], vec![]);
        let busy = service.ready[0].live.begin();
        assert_eq!(names(&service, 3, &[]), "bbb");
        let busier = [service.ready[1].live.begin(), service.ready[1].live.begin()];
        assert_eq!(names(&service, 3, &[]), "aaa");
        drop((busy, busier));
    }

    #[test]
    fn of_many_endpoints_two_at_random_are_compared() {
        let ready: Vec<_> = (0..100).map(|n| endpoint("x", n)).collect();
        let busy: Vec<_> = ready.iter().skip(1).map(|e| e.live.begin()).collect();
        let service = service(Strategy::LeastConnections, ready, vec![]);
        assert_eq!(pick(&service, &choice(&[])).map(|e| e.live.id), Some(0));
        let random = Choice { random: 50 << 33, ..choice(&[]) };
        assert_eq!(pick(&service, &random).map(|e| e.live.id), Some(50), "the idle one is not among the two");
        drop(busy);
    }

    #[test]
    fn one_that_is_ending_is_the_last_resort_and_only_where_it_may_be() {
        let mut service = service(Strategy::RoundRobin, vec![endpoint("a", 1)], vec![endpoint("e", 2)]);
        service.last_resort = true;
        assert_eq!(names(&service, 2, &[]), "aa");
        assert_eq!(names(&service, 2, &[1]), "ee");
        service.last_resort = false;
        assert_eq!(names(&service, 1, &[1]), "-");
        service.stranded = vec![endpoint("s", 3)];
        assert_eq!(names(&service, 2, &[]), "aa");
        assert_eq!(names(&service, 1, &[1]), "s");
        assert_eq!(names(&service, 1, &[1, 3]), "-");
    }
}
