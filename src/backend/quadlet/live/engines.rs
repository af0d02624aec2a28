//! The socket of the Podman that runs this manager's units: what it says better than the command line. Where it does not answer, that is used instead.
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::place::Manager;
use crate::engine::{Engine, Kind};

/// The engine, once it was found.
#[derive(Debug, Default)]
pub(super) struct Engines(Mutex<Option<Engine>>);

impl Engines {
    /// It, if its socket answers (systemctl enable --now podman.socket).
    pub(super) async fn get(&self, manager: Manager) -> Option<Engine> {
        let socket = socket(manager)?;
        let mut held = self.0.lock().await;
        if !socket.exists() {
            *held = None;
        } else if held.is_none() {
            *held = Engine::open(&socket).await.ok().filter(|engine| engine.kind() == Kind::Podman);
        }
        held.clone()
    }
}

fn socket(manager: Manager) -> Option<PathBuf> {
    match manager {
        Manager::System => Some(PathBuf::from("/run/podman/podman.sock")),
        Manager::User => Some(Path::new(&std::env::var_os("XDG_RUNTIME_DIR")?).join("podman/podman.sock")),
    }
}
