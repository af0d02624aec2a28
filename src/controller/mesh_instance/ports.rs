//! Which instance has which port of the node's range. A freed port is given away again as late as possible, so that nobody's old traffic meets a new program.
use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
};

use mesh_api::node::PortRange;

/// The ports of a node.
pub(super) struct Ports {
    range: PortRange,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_uid: HashMap<String, u16>,
    last: Option<u16>,
}

impl Ports {
    /// None given away yet.
    pub(super) fn new(range: PortRange) -> Self {
        Self { range, state: Mutex::default() }
    }

    /// Takes note that an instance has a port.
    pub(super) fn reserve(&self, uid: &str, port: u16) {
        self.with(|state| state.by_uid.insert(uid.to_owned(), port));
    }

    /// The port that an instance is to have: the one it has if it is free, else the next free one of the range; none if there is none.
    /// Fails where it cannot be found out whether one is free.
    pub(super) fn assign(&self, uid: &str, is_free: impl Fn(u16) -> io::Result<bool>) -> io::Result<Option<u16>> {
        self.with(|state| {
            if let Some(port) = state.by_uid.get(uid).copied()
                && is_free(port)?
            {
                return Ok(Some(port));
            }
            let taken: Vec<u16> = state.by_uid.values().copied().collect();
            let (from, to) = (self.range.from.0, self.range.to.0);
            let start = state.last.filter(|last| (from..to).contains(last)).map_or(from, |last| last + 1);
            for port in (start..=to).chain(from..start).filter(|port| !taken.contains(port)) {
                if is_free(port)? {
                    state.last = Some(port);
                    state.by_uid.insert(uid.to_owned(), port);
                    return Ok(Some(port));
                }
            }
            Ok(None)
        })
    }

    /// Gives an instance's port back.
    pub(super) fn release(&self, uid: &str) {
        self.with(|state| state.by_uid.remove(uid));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Ports {
        Ports::new("100-102".parse().unwrap())
    }

    #[test]
    fn an_instance_keeps_its_port_and_a_freed_one_is_given_away_last() {
        let ports = ports();
        let assign = |uid| ports.assign(uid, |_| Ok(true)).unwrap();
        assert_eq!(assign("a"), Some(100));
        assert_eq!(assign("a"), Some(100));
        ports.release("a");
        assert_eq!(assign("b"), Some(101));
        assert_eq!(assign("c"), Some(102));
        assert_eq!(assign("d"), Some(100));
        assert_eq!(assign("e"), None);
    }

    #[test]
    fn a_port_that_somebody_else_listens_on_is_passed_over() {
        let ports = ports();
        ports.reserve("a", 100);
        assert_eq!(ports.assign("a", |port| Ok(port != 100)).unwrap(), Some(101));
        assert_eq!(ports.assign("b", |port| Ok(port != 100)).unwrap(), Some(102));
    }

    #[test]
    fn a_port_that_cannot_be_looked_at_is_neither_given_away_nor_called_taken() {
        let ports = ports();
        ports.reserve("a", 100);
        for uid in ["a", "b"] {
            assert!(ports.assign(uid, |_| Err(io::Error::other("no descriptor"))).is_err());
        }
        assert_eq!(ports.assign("a", |_| Ok(true)).unwrap(), Some(100));
    }
}
