//! systemd's manager, of the system or of the user, through `systemctl`; and where its units are.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    exit::{Code, Failure, Result},
    output,
};

/// A manager that runs and may be told what to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manager {
    user: bool,
}

impl Manager {
    /// The system's manager, or the user's.
    ///
    /// # Errors
    /// It does not run, or this user may not change its units; with what to do instead.
    pub(crate) fn of(user: bool) -> Result<Self> {
        let refuse = |text: &str| Err(Failure::new(Code::Failed, text));
        if !Path::new("/run/systemd/system").is_dir() {
            return refuse(
                "systemd does not run here (there is no /run/systemd/system): start `mesh-controller` by what starts services here instead",
            );
        }
        if !user && !rustix::process::geteuid().is_root() {
            return refuse("the system's units are root's: use sudo, or --user for units of your own");
        }
        if user && !runtime_dir().is_some_and(|dir| dir.join("systemd").is_dir()) {
            return refuse(
                "there is no systemd of this user ($XDG_RUNTIME_DIR/systemd is missing): log in as the user (ssh, or machinectl shell USER@), not with su or sudo; \
                 or let it run always: loginctl enable-linger USER, and set XDG_RUNTIME_DIR=/run/user/UID",
            );
        }
        Ok(Self { user })
    }

    /// Runs `systemctl`.
    pub(super) fn run(self, words: &[&str]) -> Result {
        let scope = if self.user { "--user" } else { "--system" };
        run(Command::new("systemctl").arg(scope).args(words)).map_err(|text| Failure::new(Code::Failed, text))
    }

    /// How a person calls it.
    pub(super) fn systemctl(self) -> &'static str {
        if self.user { "systemctl --user" } else { "systemctl" }
    }

    /// How a person reads a unit's log.
    pub(super) fn journal(self, unit: &str) -> String {
        format!("journalctl {}-u {unit}", if self.user { "--user " } else { "" })
    }

    /// Lets a user's manager run from boot on, without a login; says the command where it may not.
    pub(super) fn linger(self) -> Result {
        let name = user_name();
        if !self.user || Path::new("/var/lib/systemd/linger").join(&name).exists() {
            return Ok(());
        }
        match run(Command::new("loginctl").arg("enable-linger")) {
            Ok(()) => output::print_line("lingering is on: it runs from boot on, without a login"),
            Err(text) => output::print_line(&format!(
                "it ends when you log out, because lingering is off ({text}); as root: loginctl enable-linger {name}"
            )),
        }
    }
}

/// Runs a program to its end; what it said, if it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let line = || {
        format!(
            "{} {}",
            command.get_program().display(),
            command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        )
    };
    let line = line();
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{line}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Where units of the administrator, or of the user, are.
pub(super) fn unit_dir(user: bool) -> Result<PathBuf> {
    if !user {
        return Ok(PathBuf::from("/etc/systemd/system"));
    }
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = var("XDG_CONFIG_HOME").or_else(|| Some(var("HOME")?.join(".config")));
    config.map(|config| config.join("systemd/user")).ok_or_else(|| Failure::new(Code::Failed, "--user: $HOME is not set"))
}

/// Refuses a port that a user's manager may not listen on.
pub(super) fn check_port(address: SocketAddr) -> Result {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok().and_then(|text| text.trim().parse().ok());
    let first: u16 = first.unwrap_or(1024);
    if address.port() >= first {
        return Ok(());
    }
    let port = address.port();
    Err(Failure::new(
        Code::Usage,
        format!(
            "--router-listen {address}: ports below {first} are not for users here: take another, install without --user, \
             or allow it to all users (as root: sysctl -w net.ipv4.ip_unprivileged_port_start={port})"
        ),
    ))
}

fn runtime_dir() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
}

/// The user's name for logind; the number where the environment does not say it.
fn user_name() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| rustix::process::geteuid().as_raw().to_string())
}
