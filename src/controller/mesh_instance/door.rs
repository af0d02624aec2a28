//! Where instances talk to the mesh: the token of each run, in a folder of its instance's own, and word to the agent's door of which runs live.
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
};

use mesh_coordination::{
    session::{Session, Sessions},
    token::{Caller, Tokens},
};
use mesh_kit::replace::{self, Durability};
use mesh_plan::{
    about::TOKEN,
    instance::{InstanceKey, Observed},
};

/// How instances reach the agent's door, and what it is told of them.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where it is.
    pub socket: PathBuf,
    /// Holds a folder for each instance, with its token. Nobody else may enter it.
    pub folder: PathBuf,
    /// Makes the tokens.
    pub tokens: Tokens,
    /// Is told which runs live.
    pub sessions: Sessions,
    /// Where the router answers instances.
    pub router: Router,
}

/// Where the router answers instances, as URLs.
#[derive(Debug, Clone)]
pub struct Router {
    /// For plain processes.
    pub from_here: String,
    /// For containers; none if it listens where they do not reach it.
    pub from_containers: Option<String>,
}

impl Door {
    /// The folder of an instance's token. It has the instance's name in it, as everything in a unit of systemd that is not the same for all of a revision.
    pub(super) fn folder_of(&self, key: &InstanceKey) -> io::Result<PathBuf> {
        let plain = |text: &str| {
            !text.is_empty() && !text.starts_with('.') && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        // They come from the API and must not lead out of the folder.
        if plain(&key.name) && plain(&key.uid) && key.name.len() + key.uid.len() < 200 {
            Ok(self.folder.join(format!("{}_{}", key.name, key.uid)))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a name or uid that is no plain file name"))
        }
    }

    /// Writes the token of a run in the place of the one before. `readable`: by any user of the container that it is mounted into, and by no other on the machine.
    pub(super) fn write(&self, key: &InstanceKey, caller: &Caller, readable: bool) -> io::Result<()> {
        let folder = self.folder_of(key)?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let (of_folder, of_file) = if readable { (0o755, 0o444) } else { (0o700, 0o600) };
        fs::set_permissions(&folder, Permissions::from_mode(of_folder))?;
        replace::file(&folder.join(TOKEN), self.tokens.issue(caller).reveal().as_bytes(), of_file, Durability::UntilReboot)
    }

    /// Tells whether a run lives: what a program holds ends with it.
    pub(super) fn tell(&self, key: &InstanceKey, observed: &Observed) {
        match observed {
            Observed::Running(running) => self.sessions.lives(session(key, running.attempt)),
            Observed::Exited(exit) => self.sessions.ended(session(key, exit.attempt)),
            Observed::Absent => self.sessions.gone(&key.uid),
        }
    }

    /// The instance is gone.
    pub(super) fn forget(&self, key: &InstanceKey) {
        self.sessions.gone(&key.uid);
        let removed = self.folder_of(key).and_then(fs::remove_dir_all);
        if let Err(error) = removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }) {
            tracing::warn!(instance = %key, %error, "its token could not be removed; it is worth nothing any more");
        }
    }
}

/// The run that a start makes.
pub(super) fn session(key: &InstanceKey, attempt: u32) -> Session {
    Session { instance: key.name.clone(), uid: key.uid.clone(), attempt }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, uid: &str) -> InstanceKey {
        InstanceKey { namespace: "shop".into(), name: name.into(), uid: uid.into() }
    }

    #[test]
    fn a_token_is_in_a_folder_of_its_instances_own_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let router = Router { from_here: String::new(), from_containers: None };
        let door = Door {
            socket: PathBuf::new(),
            folder: dir.path().join("tokens"),
            tokens: Tokens::random(),
            sessions: Sessions::default(),
            router,
        };
        let key_of_web = key("web-1a-0", "u-1");
        let caller = |attempt| Caller { namespace: "shop".into(), service: "web".into(), session: session(&key_of_web, attempt) };
        let file = door.folder.join("web-1a-0_u-1/token");
        for (attempt, readable, mode) in [(0, false, 0o600), (1, false, 0o600), (2, true, 0o444)] {
            door.write(&key_of_web, &caller(attempt), readable).unwrap();
            assert_eq!(door.tokens.verify(&fs::read_to_string(&file).unwrap()), Some(caller(attempt)));
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, mode);
        }
        assert_eq!(fs::metadata(&door.folder).unwrap().permissions().mode() & 0o777, 0o700);
        door.forget(&key_of_web);
        assert!(!file.exists());
        door.forget(&key_of_web);
        for (name, uid) in [("..", "u"), ("a/b", "u"), ("web", "../../x"), ("web", ""), ("", "u")] {
            assert!(door.folder_of(&key(name, uid)).is_err(), "{name} {uid}");
        }
    }
}
