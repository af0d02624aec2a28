//! Ports for programs that are told theirs before they listen.
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below the range of instances (from 20000) and that of outgoing connections (from 32768): what the kernel gives to `bind(0)` it may give
/// to somebody's connection a moment later.
const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// An address of this machine at which nobody listens and that is given out once only.
///
/// # Panics
///
/// When no port is left.
pub fn unused() -> SocketAddr {
    // Test programs that run side by side begin at places of their own.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id().wrapping_mul(101) % u32::from(COUNT)) as u16));
    (0..COUNT)
        .map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("all ports from 10000 to 19999 are taken")
}
