//! A container's processes, seen from the machine: which is its first.
use std::fs;

use mesh_shim::tree;

/// The container's first process: conmon's child in a control group of its own. While it begins and ends, conmon has helpers beside it.
pub(super) fn payload(conmon: u32) -> Option<u32> {
    let children = tree::children(i32::try_from(conmon).ok()?).ok()?;
    let inside = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains("libpod-payload"));
    let found = children.iter().copied().find(inside).or_else(|| if children.len() == 1 { children.first().copied() } else { None });
    u32::try_from(found?).ok()
}
