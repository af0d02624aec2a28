//! Who we are in the engine: the id of this controller, and the labels by which what is ours is known from what is not.
//!
//! The id lies in the state directory. When that was removed, and begins anew at the same place, the id that the engine (or a unit of systemd) remembers
//! of it is taken up again: containers, networks, volumes and units would belong to nobody otherwise. While a controller runs it holds a socket of its id's
//! name, so that one whose directory was moved or removed under it is not taken for gone.
use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::OpenOptionsExt,
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
    path::Path,
};

use uuid::Uuid;

use super::{Inner, refusal::refused, system};
use crate::{
    Error,
    engine::{self, Engine},
};
use mesh_api::labels;
use mesh_plan::instance::{ContainerLaunch, InstanceKey};

/// On a container: the digest of the image that it was made from.
pub(super) const IMAGE: &str = "mesh-controller.dev/image";
/// On a container: the engine's secrets that it uses.
pub(super) const SECRETS: &str = "mesh-controller.dev/secrets";
const FILE: &str = "controller-id";

/// Where a state directory is: the name of the machine (or container), and the path. None for one whose path is no text.
pub(crate) fn place(state: &Path) -> Option<String> {
    Some(format!("{}:{}", rustix::system::uname().nodename().to_str().ok()?, state.to_str()?))
}

/// The path in such a place, if it is one of this machine.
pub(crate) fn path_here(place: &str) -> Option<&Path> {
    let (machine, path) = place.split_once(':')?;
    (rustix::system::uname().nodename().to_str() == Ok(machine)).then(|| Path::new(path))
}

/// Whether the controller that something says it is of is gone for good: it does not run, and its state directory is of this machine, and is not there any
/// more or is another controller's. Where that cannot be told, it is not: the folder that had the directory may have been moved, or is not mounted.
pub(crate) fn maker_is_gone<'a>(label: impl Fn(&str) -> Option<&'a String>) -> bool {
    let (Some(controller), Some(place)) = (label(labels::CONTROLLER), label(labels::STATE_DIR)) else { return false };
    let Some(state) = path_here(place).filter(|state| state.parent().is_some_and(Path::exists)) else { return false };
    let is_elsewhere = match fs::read_to_string(state.join(FILE)) {
        Ok(id) => id.trim() != controller,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    is_elsewhere && !runs(controller)
}

/// The socket that a running controller holds; it says nothing, and belongs to no file.
fn name(controller: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("mesh-controller/{controller}"))
}

/// Says for as long as it lives that the controller runs. None where another one says so already.
pub(crate) fn hold(controller: &str) -> Option<UnixListener> {
    name(controller).and_then(|name| UnixListener::bind_addr(&name)).ok()
}

/// Whether the controller runs, on this machine.
fn runs(controller: &str) -> bool {
    name(controller).and_then(|name| UnixStream::connect_addr(&name)).is_ok()
}

/// The place of a state directory that has no id: what says that it was made from there is of an earlier one, which was removed.
pub(crate) fn place_without_id(state: &Path) -> Option<String> {
    place(state).filter(|_| !state.join(FILE).exists())
}

/// The id of an earlier controller of the same state directory, which was removed since; none where the directory has an id, or the engine knows of none.
///
/// # Errors
/// The engine refuses.
pub(super) async fn left_here(engine: &Engine, state: &Path) -> Result<Option<String>, Error> {
    let Some(place) = place_without_id(state) else { return Ok(None) };
    let here = [(labels::APP_MANAGED_BY, labels::MANAGER), (labels::STATE_DIR, place.as_str())];
    let left = async {
        let volumes = engine.volumes(&here).await?.into_iter().map(|(_, labels)| labels.into_iter().collect());
        let networks = engine.networks(&here).await?.into_iter().map(|(_, labels)| labels.into_iter().collect());
        let containers = engine.containers(&here).await?.into_iter().map(|found| found.labels);
        Ok(volumes.chain(networks).chain(containers).find_map(|mut labels: BTreeMap<String, String>| labels.remove(labels::CONTROLLER)))
    };
    left.await.map_err(|error: engine::Error| refused(engine, "look for what an earlier state directory here has left".to_owned(), &error))
}

/// The id in the state directory; at the first use it is that of the earlier controller here which has `left` something, or a new one. Whoever copies a
/// state directory copies the id with it.
///
/// # Errors
/// The earlier one still runs, or the file cannot be read or written.
pub(crate) fn controller_id(state: &Path, left: Option<&str>) -> Result<String, Error> {
    let path = state.join(FILE);
    if let Some(controller) = left {
        if runs(controller) {
            return Err(Error::Refused {
                act: format!("use state directory {}", state.display()),
                why: "the controller that had it before still runs, though the directory was removed under it: end that process first"
                    .to_owned(),
            });
        }
        tracing::warn!(
            controller,
            "a controller with this state directory was here before, and the directory was removed since: what it left is taken up again"
        );
    }
    let new = || Uuid::new_v4().to_string();
    let text = write_once(&path, left.map_or_else(new, ToOwned::to_owned).as_bytes())?;
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
        let place = place(&self.state).map(|place| (labels::STATE_DIR, place));
        [(labels::APP_MANAGED_BY, labels::MANAGER.to_owned()), (labels::CONTROLLER, self.controller.clone())]
            .into_iter()
            .chain(place)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
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
    fn a_maker_is_gone_when_its_state_directory_here_is_gone_or_anothers() {
        let state = tempfile::tempdir().unwrap();
        let id = controller_id(state.path(), None).unwrap();
        let here = place(state.path()).unwrap();
        let gone = |controller: &str, place: &str| {
            let all = BTreeMap::from([(labels::CONTROLLER, controller.to_owned()), (labels::STATE_DIR, place.to_owned())]);
            maker_is_gone(|label| all.get(label))
        };
        assert!(!gone(&id, &here), "it is there");
        assert!(gone("another", &here), "the directory is another controller's now");
        assert!(!gone("another", &format!("elsewhere{here}")), "of another machine nothing is known");
        assert!(!maker_is_gone(|_| None), "nor of one that does not say where it was");
        let moved = format!("{here}/moved/.mesh");
        assert!(!gone(&id, &moved), "its folder was moved with it, perhaps");
        fs::remove_file(state.path().join(FILE)).unwrap();
        let running = hold(&id).unwrap();
        assert!(!gone(&id, &here), "it runs, though its directory was removed");
        let hasty = controller_id(state.path(), Some(&id)).unwrap_err().to_string();
        assert!(hasty.contains("still runs") && !state.path().join(FILE).exists(), "{hasty}");
        drop(running);
        assert!(gone(&id, &here));
        assert_eq!(controller_id(state.path(), Some(&id)).unwrap(), id, "it is taken up again");
    }

    #[test]
    fn the_id_is_made_once_and_then_stays() {
        let state = tempfile::tempdir().unwrap();
        let first = controller_id(state.path(), None).unwrap();
        assert_eq!(controller_id(state.path(), Some("other")).unwrap(), first);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        fs::write(state.path().join(FILE), "not an id").unwrap();
        let error = controller_id(state.path(), None).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove it"), "{error}");
    }
}
