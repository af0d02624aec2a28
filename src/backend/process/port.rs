//! Who listens on a port: from the kernel's tables of sockets and the open files of processes. Traffic goes to our own processes only.
use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use super::tree;
use crate::plan::instance::PortOwner;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    inode: u64,
}

/// Who gets a connection to the port on this machine, and under which address.
pub(crate) fn owner(port: u16, tree: impl IntoIterator<Item = i32>) -> (PortOwner, SocketAddr) {
    let (listeners, address) = reached(&listeners(port));
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

fn listeners(port: u16) -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| listener(line, port)).collect()
}

/// proc(5): `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`; state 0A is LISTEN.
fn listener(line: &str, port: u16) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace();
    let (address, local_port) = fields.nth(1)?.split_once(':')?;
    if u16::from_str_radix(local_port, 16).ok()? != port || fields.nth(1)? != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Listener { address: parse_address(address)?.to_canonical(), inode })
}

/// Words of 32 bits, each printed as a number in the machine's byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::with_capacity(16);
    for start in (0..hex.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?.to_ne_bytes());
    }
    let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()
}

/// Whether nobody listens on the port, on any address that an instance may use. Bound and let go at once.
pub(crate) fn is_free(port: u16) -> bool {
    let addresses: [IpAddr; 4] =
        [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()];
    addresses.into_iter().all(|address| match TcpListener::bind((address, port)) {
        Ok(_) => true,
        // A machine without IPv6 has nobody who could listen there.
        Err(error) => address.is_ipv6() && !matches!(error.kind(), std::io::ErrorKind::AddrInUse | std::io::ErrorKind::PermissionDenied),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(listener(line, 8080), Some(Listener { address: Ipv4Addr::LOCALHOST.into(), inode: 4711 }));
        assert_eq!(listener(line, 8081), None);
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), 8080), None);
        let six = line.replace("0100007F", "00000000000000000000000001000000");
        assert_eq!(listener(&six, 8080).unwrap().address, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(listener(&line.replace("0100007F", "0000000000000000FFFF00000100007F"), 8080).unwrap().address, Ipv4Addr::LOCALHOST);
    }

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
        let at = |address: &str, inode| Listener { address: address.parse().unwrap(), inode };
        let (found, address) = reached(&[at("0.0.0.0", 1), at("127.0.0.1", 2)]);
        assert_eq!((found, address), (vec![at("127.0.0.1", 2)], Ipv4Addr::LOCALHOST.into()));
        assert_eq!(reached(&[at("::1", 3)]).1, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(reached(&[at("10.0.0.5", 4)]).1, "10.0.0.5".parse::<IpAddr>().unwrap());
    }
}
