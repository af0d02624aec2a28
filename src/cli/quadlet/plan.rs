//! What is to be made: the instances, the files of their units, and what the engine must be given.
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::files::{Content, File, Root};
use mesh_backend::quadlet::{
    argv, header, names,
    render::{self, EngineSecret, Health, Host, Instance, Timer, Tries},
};
use mesh_plan::container::Container;

/// An instance of a service or a task, with all that it is made of.
pub(crate) struct Member {
    pub(crate) namespace: String,
    /// The service, or the task.
    pub(crate) service: String,
    pub(crate) revision: String,
    pub(crate) name: String,
    pub(crate) ordinal: u32,
    pub(crate) container: Container,
    pub(crate) health: Option<Health>,
    pub(crate) after: Vec<String>,
    /// It is a task.
    pub(crate) job: Option<Job>,
}

/// How systemd runs a task.
pub(crate) struct Job {
    pub(super) tries: Tries,
    /// Without it, it runs when asked.
    pub(super) timer: Option<Timer>,
}

impl Member {
    /// The service that systemd runs for it.
    pub(super) fn unit_name(&self) -> String {
        match self.job {
            Some(_) => format!("{}.service", names::task(&self.namespace, &self.service)),
            None => self.instance().unit_name(),
        }
    }

    /// `podman run` for it, as a service of systemd does it.
    pub(crate) fn argv(&self, host: &Host) -> Result<Vec<String>, render::Error> {
        match self.job {
            Some(_) => argv::run_to_end(&self.instance(), host),
            None => argv::run(&self.instance(), host),
        }
    }

    /// As the renderer wants it.
    pub(crate) fn instance(&self) -> Instance<'_> {
        let Self { namespace, service, revision, name, ordinal, container, health, after, job: _ } = self;
        Instance { namespace, service, revision, name, ordinal: *ordinal, container, health: health.as_ref(), after }
    }
}

/// What is to be made.
pub(crate) struct Plan {
    pub(crate) host: Host,
    pub(super) set: String,
    pub(super) files: Vec<File>,
    pub(crate) members: Vec<Member>,
    pub(crate) secrets: Vec<EngineSecret>,
    /// The units to start, in order; and whether they are enabled by a link (Quadlet's are enabled by their generator).
    pub(super) units: Vec<(String, bool)>,
    /// What the user must know.
    pub(crate) notes: Vec<String>,
}

impl Plan {
    /// Adds a text with our header.
    pub(super) fn add(&mut self, root: Root, path: impl Into<String>, body: &str, from: &str) {
        self.files.push(File { root, path: path.into(), content: Content::Text(header::add(body, &self.set, from)) });
    }

    /// Files without a header of ours are listed with their hashes, so that a later run knows them.
    pub(super) fn index(&mut self) {
        let lines: BTreeSet<String> = self
            .files
            .iter()
            .filter_map(|file| match &file.content {
                Content::Bytes(bytes, _) => Some(format!("{} {}\n", hash(bytes), file.path)),
                Content::Text(_) | Content::Link(_) => None,
            })
            .collect();
        if !lines.is_empty() {
            let body = lines.into_iter().collect::<String>();
            self.add(Root::Data, index_file(&self.set.clone()), &body, "the files of ConfigMaps");
        }
    }
}

/// The list of files without a header.
pub(super) fn index_file(set: &str) -> String {
    format!("{set}.index")
}

/// As the index has it.
pub(super) fn hash(bytes: &[u8]) -> String {
    header::hex(&Sha256::digest(bytes))
}
