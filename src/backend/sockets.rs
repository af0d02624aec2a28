//! The listening TCP sockets of a network namespace; used by every backend that looks who listens on a port.
mod diag;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    path::Path,
};

use mesh_base::exhausted::is_exhausted;
use mesh_plan::instance::PortOwner;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// On which port.
    pub port: u16,
    /// On which address; an IPv4 one in an IPv6 socket is shown as IPv4.
    pub address: IpAddr,
    /// What the kernel calls the socket.
    pub inode: u64,
}

/// Those of this namespace.
///
/// # Errors
/// The kernel cannot be asked: who listens is not known then.
pub(crate) fn here() -> io::Result<Vec<Listener>> {
    match diag::all() {
        // A kernel without it has the tables.
        Err(error) if !is_exhausted(&error) => all(Path::new("/proc/net")),
        result => result,
    }
}

/// All that the tables have; `net` is `/proc/net`, or `/proc/PID/net` for what that process sees.
///
/// # Errors
/// The tables are there and cannot be read: who listens is not known then.
pub fn all(net: &Path) -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        match File::open(net.join(table)) {
            Ok(file) => read(BufReader::new(file), &mut found)?,
            // A machine without IPv6, or a process that has ended (a zombie's tables are EINVAL).
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The kernel shows those that listen first (tcp_get_idx in net/ipv4/tcp_ipv4.c), so it is not asked for the thousands of connections behind them.
fn read(mut table: impl BufRead, found: &mut Vec<Listener>) -> io::Result<()> {
    let mut line = String::new();
    table.read_line(&mut line)?;
    line.clear();
    while table.read_line(&mut line)? > 0 {
        let Some(listener) = listener(&line) else { break };
        found.push(listener);
        line.clear();
    }
    Ok(())
}

/// Those on a port.
///
/// # Errors
/// As of [`all`].
pub fn listeners(net: &Path, port: u16) -> io::Result<Vec<Listener>> {
    let mut found = all(net)?;
    found.retain(|listener| listener.port == port);
    Ok(found)
}

/// Who listens on a port inside a container, as far as the outside is concerned.
pub(crate) fn port_owner(pid: i32, port: u16) -> PortOwner {
    match listeners(Path::new(&format!("/proc/{pid}/net")), port) {
        Err(error) => PortOwner::Unknown(error.to_string()),
        Ok(found) if found.is_empty() => PortOwner::Nobody,
        Ok(found) if found.iter().all(|listener| listener.address.is_loopback()) => PortOwner::LoopbackOnly,
        Ok(_) => PortOwner::Ours,
    }
}

/// proc(5): `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`; state 0A is LISTEN.
fn listener(line: &str) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some(Listener { port: u16::from_str_radix(port, 16).ok()?, address: parse_address(address)?.to_canonical(), inode })
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
///
/// # Errors
/// Something was used up: who listens is not known.
pub(crate) fn is_free(port: u16) -> io::Result<bool> {
    let addresses: [IpAddr; 4] =
        [Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()];
    for address in addresses {
        match TcpListener::bind((address, port)) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => return Ok(false),
            // A machine without IPv6 has nobody who could listen there.
            Err(error) if address.is_ipv6() && (error.kind() == io::ErrorKind::AddrNotAvailable || !is_exhausted(&error)) => {}
            Err(error) if is_exhausted(&error) => return Err(error),
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        assert_eq!(listener(line), Some(Listener { port: 8080, address: Ipv4Addr::LOCALHOST.into(), inode: 4711 }));
        let net = tempfile::tempdir().unwrap();
        std::fs::write(net.path().join("tcp"), format!("head\n{line}\n")).unwrap();
        assert_eq!((listeners(net.path(), 8080).unwrap().len(), listeners(net.path(), 8081).unwrap()), (1, vec![]));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        let six = line.replace("0100007F", "00000000000000000000000001000000");
        assert_eq!(listener(&six).unwrap().address, IpAddr::from(Ipv6Addr::LOCALHOST));
        assert_eq!(listener(&line.replace("0100007F", "0000000000000000FFFF00000100007F")).unwrap().address, Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn one_who_listens_on_loopback_only_is_not_heard_outside() {
        let me = i32::try_from(std::process::id()).unwrap();
        let of = |address: &str| {
            let socket = TcpListener::bind((address, 0)).unwrap();
            (port_owner(me, socket.local_addr().unwrap().port()), socket)
        };
        let (inner, socket) = of("127.0.0.1");
        assert_eq!(inner, PortOwner::LoopbackOnly);
        let port = socket.local_addr().unwrap().port();
        drop(socket);
        assert_eq!(port_owner(me, port), PortOwner::Nobody);
        assert_eq!(of("0.0.0.0").0, PortOwner::Ours);
    }
}
