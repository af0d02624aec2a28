//! What is to be made: the instances, the files of their units, and what the engine must be given.
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::files::{Content, File, Root};
use mesh_backend::quadlet::{
    header,
    render::{EngineSecret, Health, Host, Instance},
};
use mesh_plan::container::Container;

/// An instance, with all that it is made of.
pub(crate) struct Member {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) revision: String,
    pub(crate) name: String,
    pub(crate) ordinal: u32,
    pub(crate) container: Container,
    pub(crate) health: Option<Health>,
    pub(crate) after: Vec<String>,
}

impl Member {
    /// As the renderer wants it.
    pub(crate) fn instance(&self) -> Instance<'_> {
        let Self { namespace, service, revision, name, ordinal, container, health, after } = self;
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
