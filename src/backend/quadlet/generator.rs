//! Where Quadlet's own generator lies, and how it is asked what it makes of files without writing anything.
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folders of generators that systemd runs, for the machine and for its users.
const FOLDERS: [&str; 2] = ["/usr/lib/systemd", "/usr/local/lib/systemd"];
/// Where a Podman keeps the program that those generators are links to.
const PROGRAMS: [&str; 2] = ["/usr/libexec/podman/quadlet", "/usr/lib/podman/quadlet"];

/// The generator that systemd runs: without it no unit is made. Of a user's systemd it is another one.
pub fn of_systemd(user: bool) -> Option<PathBuf> {
    places(user).find(|path| path.exists())
}

/// Any generator that can be asked, whether or not systemd runs it.
pub fn installed(user: bool) -> Option<PathBuf> {
    of_systemd(user).or_else(|| PROGRAMS.into_iter().map(PathBuf::from).find(|path| path.exists()))
}

/// Where systemd looks, the usual place first.
pub fn places(user: bool) -> impl Iterator<Item = PathBuf> {
    let of = if user { "user-generators/podman-user-generator" } else { "system-generators/podman-system-generator" };
    FOLDERS.into_iter().map(move |folder| Path::new(folder).join(of))
}

/// A command that prints the units that a generator makes of a folder's files to standard output, and what it has against them to standard error.
pub fn dry_run(generator: &Path, units: &Path, user: bool) -> Command {
    let mut command = Command::new(generator);
    command.env("QUADLET_UNIT_DIRS", units).arg("--dryrun").stdin(Stdio::null());
    if user {
        command.arg("--user");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_systemd_has_a_generator_of_its_own() {
        let first = |user| places(user).next().unwrap();
        assert_eq!(first(false), Path::new("/usr/lib/systemd/system-generators/podman-system-generator"));
        assert_eq!(first(true), Path::new("/usr/lib/systemd/user-generators/podman-user-generator"));
    }
}
