//! Which resources are served: the built-in ones and those of the stored definitions. A snapshot, replaced whole when a definition changes.
mod builtin;
mod custom;
mod events_v1;
mod resource;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use mesh_store::Listing;

pub(crate) use self::{
    builtin::is_built_in_group,
    custom::is_established,
    resource::{Behaviour, Resource, ScalePaths},
};

/// The store's name for definitions.
pub(crate) const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// The store's name for namespaces.
pub(crate) const NAMESPACES: &str = "namespaces";

/// All resources at one moment.
#[derive(Debug)]
pub(crate) struct Registry {
    resources: Vec<Arc<Resource>>,
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    hash: String,
    /// The revision that the definitions were read at.
    pub(crate) revision: u64,
}

impl Registry {
    /// The registry of the built-in resources and these definitions. What `before` has for an unchanged definition is kept.
    pub(crate) fn build(before: Option<&Self>, definitions: &Listing) -> Self {
        let mut resources: Vec<_> = match before {
            Some(before) => before.resources.iter().filter(|resource| resource.definition.is_none()).cloned().collect(),
            None => builtin::resources().into_iter().map(Arc::new).collect(),
        };
        let mut hash = Sha256::new();
        for entry in &definitions.entries {
            hash.update(format!("{} {}\n", entry.key.name, entry.revision));
            let known: Vec<_> = before.map(|before| before.of_definition(&entry.key.name, entry.revision)).unwrap_or_default();
            if known.is_empty() {
                resources.extend(custom::resources(&entry.value(), entry.revision).into_iter().map(Arc::new));
            } else {
                resources.extend(known);
            }
        }
        let path = |resource: &Resource| (resource.group.clone(), resource.version.clone(), resource.plural.clone());
        // The built-in ones come last: none of them gives way to a definition.
        let built_in = |resource: &&Arc<Resource>| resource.definition.is_none();
        let in_order = resources.iter().filter(|resource| !built_in(resource)).chain(resources.iter().filter(built_in));
        let by_path = in_order.map(|resource| (path(resource), Arc::clone(resource))).collect();
        let hash = hex(&hash.finalize());
        Self { resources, by_path, hash, revision: definitions.revision }
    }

    fn of_definition(&self, name: &str, revision: u64) -> Vec<Arc<Resource>> {
        let same = |resource: &&Arc<Resource>| resource.definition.as_deref() == Some(name) && resource.revision == revision;
        self.resources.iter().filter(same).cloned().collect()
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The resource through which stored objects of this name are changed by the server itself.
    pub(crate) fn stored(&self, storage: &str) -> Option<&Arc<Resource>> {
        let of_storage = || self.resources.iter().filter(|resource| *resource.storage == *storage);
        of_storage().find(|resource| !resource.convert).or_else(|| of_storage().next())
    }

    /// Whether stored objects of this name are of a built-in resource.
    pub(crate) fn is_built_in(&self, storage: &str) -> bool {
        self.resources.iter().any(|resource| *resource.storage == *storage && resource.definition.is_none())
    }

    /// Every group with its versions, the preferred one first; the core group has the empty name.
    pub(crate) fn groups(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for resource in &self.resources {
            let versions = groups.entry(&resource.group).or_default();
            if !versions.contains(&resource.version.as_str()) {
                versions.push(&resource.version);
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by_key(|version| resource::version_order(version));
        }
        groups
    }

    pub(crate) fn of_group_version(&self, group: &str, version: &str) -> Vec<&Arc<Resource>> {
        self.resources.iter().filter(|resource| resource.group == group && resource.version == version).collect()
    }

    /// Moves with every change of a definition: the `ETag` of discovery and of `OpenAPI`.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

/// Bytes as upper-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}
