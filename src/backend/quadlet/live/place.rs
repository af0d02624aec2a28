//! Where this manager of systemd looks for units, and which versions are here.
use std::path::{Path, PathBuf};

use super::{own_dir, podman, system};
use crate::{
    Error,
    quadlet::{
        render::Host,
        version::{Podman, Systemd},
    },
};

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The machine's, for root.
    System,
    /// The user's own.
    User,
}

impl Manager {
    /// The one that this user may use.
    pub fn of_this_user() -> Self {
        if rustix::process::geteuid().is_root() { Self::System } else { Self::User }
    }

    /// Where Quadlet looks for its units.
    pub(super) fn units(self) -> Result<PathBuf, Error> {
        match self {
            Self::System => Ok(PathBuf::from("/etc/containers/systemd")),
            Self::User => Ok(config_home()?.join("containers/systemd")),
        }
    }

    /// What `systemctl` and `journalctl` need to speak of the same.
    pub(super) fn flag(self) -> &'static [&'static str] {
        match self {
            Self::System => &[],
            Self::User => &["--user"],
        }
    }

    /// The command that shows what systemd says of a unit.
    pub(super) fn status_command(self, unit: &str) -> String {
        match self {
            Self::System => format!("systemctl status {unit}"),
            Self::User => format!("systemctl --user status {unit}"),
        }
    }
}

/// Where things are.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) manager: Manager,
    /// Where Quadlet looks for units.
    pub(super) units: PathBuf,
    /// Where records are.
    pub(super) records: PathBuf,
    /// What units are rendered for.
    pub(super) host: Host,
}

impl Place {
    /// Finds it, and makes the directories.
    pub(super) async fn find(manager: Manager, state_dir: &Path, systemd: &str) -> Result<Self, Error> {
        let own = own_dir(state_dir);
        let (records, data) = (own.join("records"), own.join("files"));
        let units = manager.units()?;
        for dir in [&records, &data, &units] {
            std::fs::create_dir_all(dir).map_err(system("make", dir))?;
        }
        let podman = podman::version().await?;
        if podman < Podman::QUADLET {
            return Err(Error::Unsupported(format!(
                "--backend quadlet needs Podman {} or newer, which brings Quadlet; this is {podman}: use --backend podman",
                Podman::QUADLET
            )));
        }
        let systemd = systemd.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok()).map(Systemd);
        Ok(Self { manager, units, records, host: Host { podman, systemd, data, image_units: false } })
    }
}

fn config_home() -> Result<PathBuf, Error> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config"))).ok_or_else(|| {
        Error::Unsupported("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for the units of a user: set HOME".to_owned())
    })
}
