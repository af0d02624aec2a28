//! Which backend runs the instances, as the flags say: opened, or why it cannot work here.
use std::path::{Path, PathBuf};

use super::Error;
use mesh_api::node::BackendKind;
use mesh_backend::{
    Backend,
    engine::{Engine, socket::Surroundings},
    podman::PodmanBackend,
    process::ProcessBackend,
    quadlet::live::QuadletBackend,
};
use mesh_kit::shutdown::Shutdown;

/// Which one, and what it needs.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// Plain processes.
    Process {
        /// The program `mesh-shim`.
        shim: PathBuf,
    },
    /// Containers of Podman as units of systemd: the machine's for root, the user's own otherwise.
    Quadlet,
    /// Containers of Podman or Docker.
    Podman {
        /// The engine's socket, if it was named.
        socket: Option<String>,
    },
}

impl Chosen {
    /// What the node says of it.
    pub fn kind(&self) -> BackendKind {
        match self {
            Self::Process { .. } => BackendKind::Process,
            Self::Podman { .. } => BackendKind::Podman,
            Self::Quadlet => BackendKind::Quadlet,
        }
    }

    /// Opens it.
    pub(super) async fn open(&self, state_dir: &Path, shutdown: &Shutdown) -> Result<Backend, Error> {
        Ok(match self {
            Self::Process { shim } => Backend::Process(ProcessBackend::new(state_dir, shim.clone(), shutdown.clone())?),
            Self::Quadlet => Backend::Quadlet(Box::pin(QuadletBackend::new(state_dir, shutdown.clone())).await?),
            Self::Podman { socket } => {
                let engine = Engine::open(&Surroundings::of_process(socket.clone()).find()?).await?;
                Backend::Podman(PodmanBackend::new(state_dir, engine, shutdown.clone()).await?)
            }
        })
    }
}
