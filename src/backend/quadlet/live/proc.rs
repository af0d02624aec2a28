//! A container's processes, seen from the machine: which is its first, and whether it listens.
use std::fs;

use crate::{backend::process::tree, plan::instance::PortOwner};

/// The container's first process: conmon's child in a control group of its own. While it begins and ends, conmon has helpers beside it.
pub(super) fn payload(conmon: u32) -> Option<u32> {
    let children = tree::children(i32::try_from(conmon).ok()?);
    let inside = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains("libpod-payload"));
    let found = children.iter().copied().find(inside).or_else(|| if children.len() == 1 { children.first().copied() } else { None });
    u32::try_from(found?).ok()
}

/// Whether somebody listens on a port in the network of a process, and where.
pub(super) fn owner(pid: u32, port: u16) -> PortOwner {
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    of_tables(tables.iter().map(String::as_str), port)
}

fn of_tables<'a>(tables: impl Iterator<Item = &'a str>, port: u16) -> PortOwner {
    let addresses: Vec<&str> = tables.flat_map(|table| table.lines().skip(1)).filter_map(|line| listener(line, port)).collect();
    if addresses.is_empty() {
        PortOwner::Nobody
    } else if addresses.iter().all(|address| is_loopback(address)) {
        PortOwner::LoopbackOnly
    } else {
        PortOwner::Ours
    }
}

/// proc(5): `sl local_address rem_address st …`; state 0A is LISTEN.
fn listener(line: &str, port: u16) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let (address, local_port) = fields.nth(1)?.split_once(':')?;
    let listens = u16::from_str_radix(local_port, 16).ok()? == port && fields.nth(1)? == "0A";
    listens.then_some(address)
}

/// 127.0.0.0/8 and ::1, as the kernel prints them: words in the machine's order.
fn is_loopback(address: &str) -> bool {
    let v4 = u32::from_str_radix(address, 16).is_ok_and(|word| word.to_ne_bytes().first() == Some(&127)) && address.len() == 8;
    v4 || address == "00000000000000000000000001000000"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_loopback_alone_gets_no_request() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |address: &str, state: &str| format!("   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 1\n");
        for (lines, expected) in [
            (vec![], PortOwner::Nobody),
            (vec![line("00000000:1F90", "0A")], PortOwner::Ours),
            (vec![line("0100007F:1F90", "0A")], PortOwner::LoopbackOnly),
            (vec![line("00000000000000000000000001000000:1F90", "0A")], PortOwner::LoopbackOnly),
            (vec![line("00000000000000000000000000000000:1F90", "0A")], PortOwner::Ours),
            (vec![line("0100007F:1F90", "0A"), line("0200590A:1F90", "0A")], PortOwner::Ours),
            (vec![line("00000000:1F90", "01")], PortOwner::Nobody),
            (vec![line("00000000:1F91", "0A")], PortOwner::Nobody),
        ] {
            let table = format!("{head}{}", lines.concat());
            assert_eq!(of_tables([table.as_str()].into_iter(), 8080), expected, "{table}");
        }
    }
}
