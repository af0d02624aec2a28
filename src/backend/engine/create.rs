//! What a container is made from, whichever engine makes it.
use std::{collections::BTreeMap, path::PathBuf};

use mesh_plan::container::Container;

/// Everything that a container is made from.
#[derive(Debug, Clone)]
pub struct Create<'a> {
    /// What is wanted.
    pub container: &'a Container,
    /// All of its labels.
    pub labels: BTreeMap<String, String>,
    /// What is mounted, as the engine sees it.
    pub mounts: Vec<Mounted>,
    /// Variables, and the engine's secrets that hold their values.
    pub secret_env: BTreeMap<String, String>,
    /// `uid`, `uid:gid` or `name:gid`.
    pub user: Option<String>,
    /// So much of the output is kept, where the log driver keeps files.
    pub log_bytes: Option<u64>,
}

impl Create<'_> {
    /// The variables that everybody may see; a later one of the same name wins, be it secret or not.
    pub(super) fn plain_env(&self) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for var in &self.container.env {
            // An empty value tells nothing, and no engine keeps it as a secret.
            if var.secret && !var.value.reveal().is_empty() {
                env.remove(&var.name);
            } else {
                env.insert(var.name.clone(), var.value.reveal().to_owned());
            }
        }
        env
    }
}

/// Something mounted, as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mounted {
    /// A path of the machine.
    Bind {
        /// The path.
        source: PathBuf,
        /// In the container.
        target: String,
        /// It cannot be written there.
        read_only: bool,
        /// It is ours alone, so SELinux may be told that containers read it.
        relabel: bool,
    },
    /// A named volume.
    Volume {
        /// Its name.
        name: String,
        /// In the container.
        target: String,
        /// It cannot be written there.
        read_only: bool,
        /// It is of this container alone: empty at first, whatever the image has there, and its user's.
        own: bool,
    },
    /// Memory.
    Memory {
        /// In the container.
        target: String,
        /// The most it may hold, in bytes.
        size: Option<u64>,
    },
}
