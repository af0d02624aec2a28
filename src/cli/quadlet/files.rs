//! Files that are to be there, by the three places that they belong to.
use std::path::{Path, PathBuf};

use crate::exit::{Code, Failure, Result};

/// Where a kind of file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Root {
    /// Units that Quadlet reads.
    Quadlet,
    /// Units that systemd reads.
    Systemd,
    /// What units refer to.
    Data,
}

impl Root {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Quadlet, Self::Systemd, Self::Data];
}

/// A file that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Where it belongs.
    pub(super) root: Root,
    /// Its path below that.
    pub(super) path: String,
    /// What it is.
    pub(super) content: Content,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// A text with our header.
    Text(String),
    /// A symbolic link to a file beside it.
    Link(String),
    /// Somebody's bytes, with their permissions; they are in the index of their set.
    Bytes(Vec<u8>, u32),
}

/// The folders of the three places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout([PathBuf; 3]);

impl Layout {
    /// All below one folder.
    pub(super) fn folder(dir: &Path) -> Self {
        Self(["quadlet", "systemd", "data"].map(|name| dir.join(name)))
    }

    /// Where systemd and Podman read them.
    ///
    /// # Errors
    /// A user without a home.
    pub(super) fn installed(user: bool) -> Result<Self> {
        if !user {
            return Ok(Self(["/etc/containers/systemd", "/etc/systemd/system", "/etc/mesh/quadlet"].map(PathBuf::from)));
        }
        let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
        let config = config.ok_or_else(|| Failure::new(Code::Usage, "--user: $HOME is not set, so there is no place for units"))?;
        Ok(Self(["containers/systemd", "systemd/user", "mesh/quadlet"].map(|path| config.join(path))))
    }

    /// The folder of a place.
    pub(super) fn root(&self, root: Root) -> &Path {
        let [quadlet, systemd, data] = &self.0;
        match root {
            Root::Quadlet => quadlet,
            Root::Systemd => systemd,
            Root::Data => data,
        }
    }

    /// Where a file lies.
    pub(super) fn path(&self, root: Root, path: &str) -> PathBuf {
        self.root(root).join(path)
    }
}
