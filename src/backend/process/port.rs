//! Who listens on a port: from the kernel's tables of sockets and the open files of processes. Traffic goes to our own processes only.
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::sockets::{self, Listener};
use mesh_plan::instance::PortOwner;
use mesh_shim::tree;

/// The kernel's tables are read again after so long: hundreds of instances that are looked at in the same moment cost one reading.
const FRESH: Duration = Duration::from_millis(2);

/// The listening sockets of this machine, by port, as they were a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Listening(Mutex<Option<(Instant, ByPort)>>);

type ByPort = Arc<HashMap<u16, Vec<Listener>>>;

impl Listening {
    /// Those on a port.
    pub(crate) fn on(&self, port: u16) -> io::Result<Vec<Listener>> {
        Ok(self.table()?.get(&port).cloned().unwrap_or_default())
    }

    fn table(&self) -> io::Result<ByPort> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(table));
        }
        let mut table: HashMap<u16, Vec<Listener>> = HashMap::new();
        for listener in sockets::here()? {
            table.entry(listener.port).or_default().push(listener);
        }
        let table = Arc::new(table);
        *kept = Some((Instant::now(), Arc::clone(&table)));
        Ok(table)
    }
}

/// A look at who listens on an instance's port.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// The sockets that were there. While they stay the same, so does their owner.
    pub listeners: Vec<Listener>,
    /// Whose they are.
    pub owner: PortOwner,
    /// Where a connection to the port arrives.
    pub address: SocketAddr,
}

/// Looks who gets a connection to the port on this machine, and under which address, of those that listen there.
pub(crate) fn look(port: u16, listeners: Vec<Listener>, tree: impl IntoIterator<Item = i32>) -> io::Result<Look> {
    let (chosen, address) = reached(&listeners);
    let address = SocketAddr::new(address, port);
    if chosen.is_empty() {
        return Ok(Look { listeners, owner: PortOwner::Nobody, address });
    }
    let ours = tree::sockets(tree)?;
    let owner = match chosen.iter().find(|listener| !ours.contains_key(&listener.inode)) {
        None => PortOwner::Ours,
        Some(foreign) => PortOwner::Foreign(describe(foreign)?),
    };
    Ok(Look { listeners, owner, address })
}

fn describe(listener: &Listener) -> io::Result<String> {
    let everybody: HashMap<u64, i32> = tree::sockets(tree::all()?)?;
    Ok(everybody.get(&listener.inode).map_or_else(|| "a process of another user".to_owned(), |pid| tree::name(*pid)))
}

/// The sockets among which the kernel chooses for a connection over loopback: the most exact address wins. And that address.
fn reached(listeners: &[Listener]) -> (Vec<Listener>, IpAddr) {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let with = |wanted: &dyn Fn(&IpAddr) -> bool| listeners.iter().filter(|l| wanted(&l.address)).copied().collect::<Vec<_>>();
    let choices = [(with(&|ip| *ip == v4), v4), (with(&IpAddr::is_unspecified), v4), (with(&|ip| *ip == v6), v6)];
    let chosen = choices.into_iter().find(|(found, _)| !found.is_empty());
    chosen.unwrap_or_else(|| match listeners.first() {
        Some(other) => (with(&|ip| *ip == other.address), other.address),
        None => (Vec::new(), v4),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::sockets::is_free;

    fn owner(port: u16, tree: impl IntoIterator<Item = i32>) -> (PortOwner, SocketAddr) {
        let look = look(port, sockets::here().unwrap().into_iter().filter(|listener| listener.port == port).collect(), tree).unwrap();
        (look.owner, look.address)
    }

    #[test]
    fn the_listener_of_this_process_is_ours_only_for_its_own_tree() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let me = rustix::process::getpid().as_raw_nonzero().get();
        assert!(!is_free(address.port()).unwrap());
        assert_eq!(owner(address.port(), [me]), (PortOwner::Ours, address));
        let (foreign, _) = owner(address.port(), []);
        assert!(matches!(&foreign, PortOwner::Foreign(name) if name.starts_with(&format!("pid {me} ("))), "{foreign:?}");
        drop(socket);
        assert_eq!(owner(address.port(), [me]).0, PortOwner::Nobody);
        assert!(is_free(address.port()).unwrap());
    }

    #[test]
    fn one_who_listens_on_the_exact_address_takes_the_traffic_from_one_on_all() {
        let at = |address: &str, inode| Listener { port: 80, address: address.parse().unwrap(), inode };
        let (found, address) = reached(&[at("0.0.0.0", 1), at("127.0.0.1", 2)]);
        assert_eq!((found, address), (vec![at("127.0.0.1", 2)], Ipv4Addr::LOCALHOST.into()));
        assert_eq!(reached(&[at("::1", 3)]).1, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(reached(&[at("10.0.0.5", 4)]).1, "10.0.0.5".parse::<IpAddr>().unwrap());
    }
}
