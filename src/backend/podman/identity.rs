//! Who we are in the engine: the id of this controller, and the labels by which what is ours is known from what is not.
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use uuid::Uuid;

use super::{Inner, system};
use crate::Error;
use mesh_api::labels;
use mesh_plan::instance::{ContainerLaunch, InstanceKey};

/// On a container: the digest of the image that it was made from.
pub(super) const IMAGE: &str = "mesh-controller.dev/image";
/// On a container: the engine's secrets that it uses.
pub(super) const SECRETS: &str = "mesh-controller.dev/secrets";
const FILE: &str = "controller-id";

/// The id in the state directory; made at the first use. Whoever copies a state directory copies the id with it.
pub(crate) fn controller_id(state: &Path) -> Result<String, Error> {
    let path = state.join(FILE);
    let text = write_once(&path, Uuid::new_v4().to_string().as_bytes())?;
    let id = String::from_utf8_lossy(&text).trim().to_owned();
    match Uuid::try_parse(&id) {
        Ok(id) => Ok(id.to_string()),
        Err(error) => Err(system("read", &path)(io::Error::other(format!(
            "{error}; if it cannot be restored, remove it: a new id is made, and what runs under the old one is left alone"
        )))),
    }
}

/// What is in a file; if it is not there, it is written first, whole or not at all, for its owner only.
pub(super) fn write_once(path: &Path, content: &[u8]) -> Result<Vec<u8>, Error> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found.map_err(system("read", path)),
    }
    let new = path.with_extension(format!("new-{}", Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        // A link, and not a rename: who was first stays.
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::read(path),
        }
    })();
    // Left behind it would do no harm.
    let _ = fs::remove_file(&new);
    written.map_err(system("write", path))
}

/// The instance that a container or volume says it is of.
pub(super) fn key<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<InstanceKey> {
    Some(InstanceKey {
        namespace: label(labels::NAMESPACE)?.clone(),
        name: label(labels::INSTANCE)?.clone(),
        uid: label(labels::UID)?.clone(),
    })
}

/// The start that a container says it is of.
pub(super) fn attempt(of: &BTreeMap<String, String>) -> u32 {
    of.get(labels::ATTEMPT).and_then(|attempt| attempt.parse().ok()).unwrap_or(0)
}

impl Inner {
    /// What every network, volume and secret of ours carries.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        [(labels::APP_MANAGED_BY, labels::MANAGER), (labels::CONTROLLER, &self.controller)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// What everything that is of one instance alone carries.
    pub(super) fn labels_of(&self, key: &InstanceKey) -> BTreeMap<String, String> {
        let mut all = self.labels();
        let own = [(labels::NAMESPACE, &key.namespace), (labels::INSTANCE, &key.name), (labels::UID, &key.uid)];
        all.extend(own.map(|(name, value)| (name.to_owned(), value.clone())));
        all
    }

    /// What a container carries.
    pub(super) fn container_labels(&self, launch: &ContainerLaunch) -> BTreeMap<String, String> {
        let mut all = launch.container.labels.clone();
        all.extend(self.labels_of(&launch.key));
        all.insert(labels::ATTEMPT.to_owned(), launch.attempt.to_string());
        all
    }

    /// The filter for what is of one instance.
    pub(super) fn of_instance<'a>(&'a self, key: &'a InstanceKey) -> [(&'static str, &'a str); 2] {
        [(labels::CONTROLLER, &self.controller), (labels::UID, &key.uid)]
    }

    /// Whether something with this label is ours.
    pub(super) fn owns(&self, controller: Option<&String>) -> bool {
        controller == Some(&self.controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once_and_then_stays() {
        let state = tempfile::tempdir().unwrap();
        let first = controller_id(state.path()).unwrap();
        assert_eq!(controller_id(state.path()).unwrap(), first);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        fs::write(state.path().join(FILE), "not an id").unwrap();
        let error = controller_id(state.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove it"), "{error}");
    }
}
