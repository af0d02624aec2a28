//! The listening TCP sockets of this network namespace, asked of the kernel over netlink: sock_diag(7). The tables of `/proc/net` have the same, but who
//! reads them walks all places for connections there could be, a quarter of a million on a large machine, however few there are.
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{self, SocketAddrNetlink},
    recv, sendto, socket_with,
};

use super::Listener;

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
/// `1 << TCP_LISTEN`.
const LISTENING: u32 = 1 << 10;
/// The kernel's answers come in pieces that are no longer.
const PIECE: usize = 32 * 1024;

/// All of them.
pub(super) fn all() -> io::Result<Vec<Listener>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let (mut found, mut piece) = (Vec::new(), vec![0; PIECE]);
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        let family = u8::try_from(family.as_raw()).map_err(io::Error::other)?;
        sendto(&socket, &request(family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut more = true;
        while more {
            let (length, _) = recv(&socket, piece.as_mut_slice(), RecvFlags::empty())?;
            more = take(piece.get(..length).unwrap_or_default(), &mut found)?;
        }
    }
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`; no field of the latter's socket narrows the answer.
fn request(family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(LISTENING.to_ne_bytes());
    bytes.resize(72, 0);
    bytes
}

/// Reads the messages of one piece; false after the last one.
fn take(mut piece: &[u8], found: &mut Vec<Listener>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (word(piece, 0), half(piece, 4)) {
        let length = usize::try_from(length).unwrap_or_default();
        let message = piece.get(16..length).ok_or(io::ErrorKind::InvalidData)?;
        match kind {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let errno = word(message, 0).map_or(0, u32::cast_signed);
                return Err(io::Error::from_raw_os_error(errno.saturating_neg()));
            }
            _ => found.extend(listener(message)),
        }
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// `struct inet_diag_msg`.
fn listener(message: &[u8]) -> Option<Listener> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let address = if u32::from(*message.first()?) == u32::from(AddressFamily::INET.as_raw()) {
        IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(message.get(8..12)?).ok()?))
    } else {
        IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(message.get(8..24)?).ok()?))
    };
    Some(Listener { port, address: address.to_canonical(), inode: word(message, 68)?.into() })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, path::Path};

    use super::*;

    #[test]
    fn the_kernel_says_over_netlink_what_its_tables_say() {
        let sockets: Vec<TcpListener> = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"].iter().flat_map(TcpListener::bind).collect();
        let (asked, table) = (all().unwrap(), super::super::all(Path::new("/proc/net")).unwrap());
        for address in sockets.iter().map(|socket| socket.local_addr().unwrap()) {
            let of = |all: &[Listener]| all.iter().find(|listener| listener.port == address.port()).copied();
            let found = of(&asked).unwrap();
            assert_eq!((found.address, of(&table)), (address.ip(), Some(found)));
        }
    }

    #[test]
    fn a_refusal_of_the_kernel_is_an_error_and_not_the_end() {
        let mut refusal = 20_u32.to_ne_bytes().to_vec();
        refusal.extend(NLMSG_ERROR.to_ne_bytes());
        refusal.extend([0; 10]);
        refusal.extend((-2_i32).to_ne_bytes());
        assert_eq!(take(&refusal, &mut Vec::new()).unwrap_err().raw_os_error(), Some(2));
    }
}
