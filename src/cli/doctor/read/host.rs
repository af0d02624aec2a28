//! The user, control groups, systemd, SELinux, files.
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::fs::Access;

use crate::doctor::facts::{Cgroups, Generator, Selinux, StateDir, StateDirState, SubIds, Systemd, User, Version};

pub(super) fn user() -> User {
    let uid = rustix::process::geteuid().as_raw();
    let name = read("/etc/passwd").lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    // Users of a directory service are not in the file.
    let name = name.or_else(|| std::env::var("USER").ok().filter(|name| !name.is_empty()));
    User { name: name.unwrap_or_else(|| uid.to_string()), uid }
}

pub(super) fn cgroups(uid: u32) -> Cgroups {
    let root = Path::new("/sys/fs/cgroup");
    let version = if root.join("cgroup.controllers").exists() {
        Some(2)
    } else {
        root.join("memory").is_dir().then_some(1).or_else(|| root.join("unified").is_dir().then_some(1))
    };
    let delegated = (uid != 0 && version == Some(2)).then(|| {
        let of_user = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers");
        read(&of_user).split_ascii_whitespace().map(str::to_owned).collect()
    });
    Cgroups { version, delegated }
}

pub(super) fn systemd(user: &User) -> Systemd {
    Systemd {
        booted: Path::new("/run/systemd/system").is_dir(),
        user_manager: Path::new(&format!("/run/user/{}/systemd", user.uid)).is_dir(),
        lingering: Path::new("/var/lib/systemd/linger").join(&user.name).exists(),
    }
}

pub(super) fn sub_ids(user: &User) -> SubIds {
    let count = |file: &str| sub_id_count(&read(file), user);
    SubIds { counts: (count("/etc/subuid"), count("/etc/subgid")), newuidmap: in_path("newuidmap").is_some() }
}

/// subuid(5): `name-or-uid:first:count`.
fn sub_id_count(text: &str, user: &User) -> u64 {
    let of = |line: &str| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        (name == user.name || name == user.uid.to_string()).then(|| fields.nth(1)?.parse::<u64>().ok())?
    };
    text.lines().filter_map(of).fold(0, u64::saturating_add)
}

pub(super) fn selinux() -> Selinux {
    match read("/sys/fs/selinux/enforce").trim() {
        "1" => Selinux::Enforcing,
        "0" => Selinux::Permissive,
        _ => Selinux::Absent,
    }
}

/// The one that the systemd of this user runs.
pub(super) fn generator(user: &User) -> Option<Generator> {
    let path = mesh_backend::quadlet::generator::of_systemd(!user.is_root())?;
    let said = Command::new("podman").arg("--version").stdin(Stdio::null()).output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&said).split_ascii_whitespace().last().and_then(version);
    Some(Generator { path, version })
}

/// `5.4.2` is (5, 4).
pub(super) fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn state_dir(path: &Path) -> StateDir {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let state = match fs::metadata(&path) {
        Ok(meta) if !meta.is_dir() => StateDirState::Unreadable("it is no directory".to_owned()),
        Ok(meta) => match mesh_store::check(&path) {
            Ok(()) => StateDirState::There { mode: meta.mode() & 0o7777, owner: meta.uid() },
            Err(error) => StateDirState::Unusable(error.to_string()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|dir| dir.exists());
            StateDirState::Missing { can_be_made: above.is_some_and(|dir| rustix::fs::access(dir, Access::WRITE_OK).is_ok()) }
        }
        Err(error) => StateDirState::Unreadable(error.to_string()),
    };
    StateDir { path, state }
}

/// Where the shim is to be, and whether it is there.
pub(super) fn shim() -> (PathBuf, bool) {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("mesh")).with_file_name("mesh-shim");
    let there = path.is_file();
    (path, there)
}

/// A program that can be run by its name.
pub(super) fn in_path(program: &str) -> Option<PathBuf> {
    let can_run = |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(can_run)
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_given_by_name_or_number_and_add_up() {
        let user = User { name: "bob".to_owned(), uid: 1000 };
        assert_eq!(sub_id_count("bob:100000:65536\nbobby:1:7\n1000:300000:10\nbob:x\n", &user), 65546);
        assert_eq!(sub_id_count("", &user), 0);
    }

    #[test]
    fn versions_are_their_first_two_numbers() {
        assert_eq!(["5.4.2", "4.3.1-dev", "6.0-rc1"].map(version), [Some((5, 4)), Some((4, 3)), Some((6, 0))]);
        assert_eq!(["", "5", "x.y"].map(version), [None; 3]);
    }
}
