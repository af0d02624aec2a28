//! A container's processes, seen from the machine: which is its first.
use std::{fs, io};

use mesh_base::exhausted::seen;
use mesh_shim::tree;

/// The container's first process: conmon's child in a control group of its own. While it begins and ends, conmon has helpers beside it.
///
/// # Errors
/// Something was used up: nothing was seen.
pub(super) fn payload(conmon: u32) -> io::Result<Option<u32>> {
    let children = tree::children(i32::try_from(conmon).map_err(io::Error::other)?)?;
    let mut found = if let [only] = children.as_slice() { Some(*only) } else { None };
    for pid in children {
        if seen(fs::read_to_string(format!("/proc/{pid}/cgroup")))?.is_some_and(|cgroup| cgroup.contains("libpod-payload")) {
            found = Some(pid);
            break;
        }
    }
    Ok(found.and_then(|pid| u32::try_from(pid).ok()))
}
