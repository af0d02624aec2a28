//! Who listens on a port: from the kernel's tables of sockets and the open files of processes. Traffic goes to our own processes only.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use crate::sockets::{Listener, listeners};
use mesh_plan::instance::PortOwner;
use mesh_shim::tree;

/// Who gets a connection to the port on this machine, and under which address.
pub(crate) fn owner(port: u16, tree: impl IntoIterator<Item = i32>) -> (PortOwner, SocketAddr) {
    let (listeners, address) = reached(&listeners(Path::new("/proc/net"), port));
    let address = SocketAddr::new(address, port);
    if listeners.is_empty() {
        return (PortOwner::Nobody, address);
    }
    let ours = tree::sockets(tree);
    match listeners.iter().find(|listener| !ours.contains_key(&listener.inode)) {
        None => (PortOwner::Ours, address),
        Some(foreign) => (PortOwner::Foreign(describe(foreign)), address),
    }
}

fn describe(listener: &Listener) -> String {
    let everybody: HashMap<u64, i32> = tree::sockets(tree::all());
    everybody.get(&listener.inode).map_or_else(|| "a process of another user".to_owned(), |pid| tree::name(*pid))
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

    #[test]
    fn the_listener_of_this_process_is_ours_only_for_its_own_tree() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let me = rustix::process::getpid().as_raw_nonzero().get();
        assert!(!is_free(address.port()));
        assert_eq!(owner(address.port(), [me]), (PortOwner::Ours, address));
        let (foreign, _) = owner(address.port(), []);
        assert!(matches!(&foreign, PortOwner::Foreign(name) if name.starts_with(&format!("pid {me} ("))), "{foreign:?}");
        drop(socket);
        assert_eq!(owner(address.port(), [me]).0, PortOwner::Nobody);
        assert!(is_free(address.port()));
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
