//! Who listens on a port: by trying it, and from the kernel's tables.
use std::{
    collections::HashSet,
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use crate::doctor::facts::{Port, PortState, Range};
use mesh_api::node::PortRange;
use mesh_backend::sockets;

/// The kernel's tables of the machine's own network.
const NET: &str = "/proc/net";

pub(super) fn port((what, flag, address): (&'static str, &'static str, SocketAddr)) -> Port {
    let state = match TcpListener::bind(address) {
        Ok(_) => PortState::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => PortState::Taken(owner(address.port())),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
            PortState::Denied(first.and_then(|text| text.trim().parse().ok()).unwrap_or(1024))
        }
        Err(error) => PortState::Unusable(error.to_string()),
    };
    Port { what, flag, address, state }
}

pub(super) fn range(range: PortRange) -> Range {
    let taken: HashSet<u16> = sockets::all(Path::new(NET))
        .unwrap_or_default()
        .iter()
        .map(|listener| listener.port)
        .filter(|port| (range.from.0..=range.to.0).contains(port))
        .collect();
    let ephemeral = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().and_then(|text| {
        let mut ports = text.split_ascii_whitespace().map(|port| port.parse().ok());
        Some((ports.next()??, ports.next()??))
    });
    Range { ports: range, taken: taken.len(), ephemeral }
}

/// Name and id of a process that has the socket open, as far as this user may see. A socket unit's service has it too: systemd comes last.
fn owner(port: u16) -> Option<(String, i32)> {
    let listeners = sockets::listeners(Path::new(NET), port).unwrap_or_default();
    let sockets: Vec<String> = listeners.iter().map(|listener| format!("socket:[{}]", listener.inode)).collect();
    let has = |pid: &i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable_by_key(|pid| std::cmp::Reverse(*pid));
    let pid = pids.into_iter().find(has)?;
    Some((fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned(), pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_found_by_the_kernels_tables() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let found = port(("API", "--api-listen", address));
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(&found.state, PortState::Taken(Some((_, pid))) if *pid == me), "{found:?}");
        drop(socket);
        assert_eq!(port(("API", "--api-listen", address)).state, PortState::Free);
        let elsewhere = port(("API", "--api-listen", "192.0.2.1:0".parse().unwrap()));
        assert!(matches!(elsewhere.state, PortState::Unusable(_)), "{elsewhere:?}");
    }
}
