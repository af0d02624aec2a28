//! The programs of the machine: which versions are there, and what Quadlet's own generator says of files.
use std::{path::Path, process::Command};

use mesh_backend::quadlet::{
    generator,
    version::{Podman, Systemd},
};

/// The installed Podman's version.
pub(super) fn podman() -> Option<Podman> {
    output("podman")?.parse().ok()
}

/// The installed systemd's version.
pub(super) fn systemd() -> Option<Systemd> {
    Systemd::from_output(&output("systemctl")?)
}

fn output(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the generator did with the files of a folder, without writing anything.
pub(super) struct DryRun {
    /// The services that it made.
    pub(super) services: Vec<String>,
    /// What it said against files.
    pub(super) complaints: Vec<String>,
}

/// Lets a generator read a folder.
pub(super) fn dry_run(program: &Path, dir: &Path, user: bool) -> std::io::Result<DryRun> {
    let output = generator::dry_run(program, dir, user).output()?;
    let (made, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let services = made.lines().filter_map(|line| line.strip_prefix("---")?.strip_suffix("---")).map(ToOwned::to_owned).collect();
    let words = |line: &str| line.split_once("]: ").map_or(line, |(_, words)| words).trim().to_owned();
    let complaints = said.lines().map(words).filter(|line| !line.is_empty() && !line.starts_with("Loading source "));
    Ok(DryRun { services, complaints: complaints.collect() })
}
