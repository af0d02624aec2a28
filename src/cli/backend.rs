//! `--backend` and what belongs to it: flags that the daemon and `mesh run` share.
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    exit::{Code, Failure, Result},
    serve::backend::Chosen,
};

/// What runs the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendFlag {
    /// Plain processes.
    Process,
    /// Containers of Podman or Docker.
    Podman,
    /// Containers of Podman as units of systemd.
    Quadlet,
    /// Deployments in a Kubernetes cluster.
    Kubernetes,
}

/// Which backend, and where its engine is.
#[derive(Debug, Clone, Args)]
pub(super) struct BackendArgs {
    /// What runs the instances.
    #[arg(long, env = "MESH_BACKEND", value_enum, default_value = "process")]
    pub(super) backend: BackendFlag,
    /// The socket of the container engine [default: $CONTAINER_HOST, $DOCKER_HOST, the user's Podman, /run/podman/podman.sock, /var/run/docker.sock].
    #[arg(long, env = "MESH_ENGINE_SOCKET", value_name = "PATH")]
    pub(super) engine_socket: Option<String>,
}

impl BackendArgs {
    /// What is to be opened.
    pub(super) fn chosen(&self) -> Result<Chosen> {
        let needs = |backend: &str| match &self.engine_socket {
            Some(_) => {
                Err(Failure::new(Code::Usage, format!("--engine-socket is for --backend podman; {backend} uses no socket: leave it out")))
            }
            None => Ok(()),
        };
        match self.backend {
            BackendFlag::Process => {
                needs("process")?;
                Ok(Chosen::Process { shim: shim()? })
            }
            BackendFlag::Podman => Ok(Chosen::Podman { socket: self.engine_socket.clone() }),
            BackendFlag::Quadlet => {
                needs("quadlet")?;
                Ok(Chosen::Quadlet)
            }
            BackendFlag::Kubernetes => Err(Failure::new(
                Code::Usage,
                "--backend kubernetes is for mesh-controller (`kubectl apply --server-side -f deploy/` runs it in a cluster); here it is process, podman or quadlet",
            )),
        }
    }
}

/// The program that holds each instance; it is installed beside this one.
pub(super) fn shim() -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(|error| Failure::from(error).context("finding this program"))?;
    let shim = this.with_file_name("mesh-shim");
    if shim.is_file() {
        return Ok(shim);
    }
    let text = format!("{} is missing: it holds the instances, and is installed beside {}", shim.display(), this.display());
    Err(Failure::new(Code::Failed, text))
}
