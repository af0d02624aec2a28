//! Finds the control group in which this process may make others: cgroup v2, writable, and delegated by systemd (which marks it so). One that
//! is only writable, because we are root, belongs to somebody else.
use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::Access;

/// The delegated control group that this process is in, if it is in one.
pub(crate) fn find() -> Option<PathBuf> {
    let mount = mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    let group = fs::read_to_string("/proc/self/cgroup").ok()?.lines().find_map(|line| line.strip_prefix("0::/").map(str::to_owned))?;
    let path = mount.join(group);
    let writable = rustix::fs::access(path.join("cgroup.procs"), Access::WRITE_OK).is_ok();
    (writable && is_marked(&path)).then_some(path)
}

/// proc(5): `id parent device root mount-point options [optional…] - type source options`.
fn mount_point(table: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// systemd.resource-control(5), Delegate=: the attribute is set on the unit's group.
fn is_marked(group: &Path) -> bool {
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        let mut value = [0_u8; 1];
        rustix::fs::getxattr(group, *name, &mut value).is_ok() && value == *b"1"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_version_two_is_found_beside_version_one() {
        let table = "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n31 23 0:27 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(table), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("24 23 0:5 / /proc rw - proc proc rw"), None);
    }
}
