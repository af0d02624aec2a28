//! A file per verb, and the wiring of the whole. Everything here is for people: arguments in, text and an exit code out.
//!
//! `mesh` is [`Mesh`], `mesh-controller` is [`daemon::Daemon`]; both binaries parse, call [`program::run`] and end with its exit code.
//! Reads and writes go through the API only, so every verb works against any controller; only `run` and the daemon start one ([`serve`]).
#![warn(clippy::print_stdout, clippy::print_stderr)] // They panic where the descriptor takes no more: see [`output`].
mod address;
pub mod age;
pub mod agent;
pub mod apply;
mod backend;
pub mod completion;
mod coordination;
pub mod crd;
pub mod daemon;
pub mod delete;
pub mod doctor;
pub mod exit;
pub mod export;
pub mod follow;
mod hostname;
pub mod import;
mod in_cluster;
pub mod init;
pub mod install;
pub mod instance;
mod kubeconfig;
mod lifetime;
mod load;
pub mod lock;
pub mod logs;
pub mod manifest;
pub mod output;
pub mod paint;
pub mod permissions;
pub mod podman;
pub mod printer;
pub mod program;
pub mod ps;
pub mod quadlet;
pub mod ready;
pub mod resource;
pub mod restart;
pub mod router;
pub mod run;
pub mod scale;
pub mod select;
pub mod serve;
pub mod signals;
pub mod state_dir;
pub mod stop;
pub mod table;
pub mod target;
pub mod task;
pub mod why;

use clap::{Parser, Subcommand};

use self::{exit::Result, target::Target};
use mesh_kit::telemetry::LogFormat;

/// What stands after each `--help`.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 not ready in time, 4 invalid manifest, 5 no API answers, \
6 conflict or held by another, 7 done in part, 130 and 143 ended by a signal.";

/// Runs services from one declarative file, with replicas and a router, and looks after them.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Mesh {
    /// Which API to talk to.
    #[command(flatten)]
    pub target: Target,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a mesh.yaml for the project in this directory.
    Init(init::Init),
    /// Make MeshServices of compose files, Procfiles, pm2 ecosystem files or Deployments.
    Import(import::Import),
    /// Run services in the foreground, with API and router, until Ctrl-C.
    #[command(visible_alias = "up")]
    Run(run::Run),
    /// List instances, and services that have none.
    Ps(ps::Ps),
    /// Print what instances wrote.
    Logs(logs::Logs),
    /// Say why a service or an instance is (not) as wanted, and what mends it.
    Why(why::Why),
    /// Scale services to 0, or end one instance (another takes its place).
    Stop(stop::Stop),
    /// Set the number of instances.
    Scale(scale::Scale),
    /// Replace all instances of services, one after the other.
    Restart(restart::Restart),
    /// Create or change objects from files.
    Apply(apply::Apply),
    /// Delete services, or the objects in files.
    Delete(delete::Delete),
    /// Run a command while it holds a lock, or list the locks.
    Lock(lock::Lock),
    /// Run a command while it leads a group, or list the leaders.
    Leader(lock::Leader),
    /// Tasks: list them and their runs, run one now, read its output, let its schedule rest.
    Task(task::Task),
    /// Whether tasks are looked after, in the words of @panomapp/mesh.
    #[command(hide = true)]
    Cleanup(task::Cleanup),
    /// The same as `mesh lock ls`, in the words of @panomapp/mesh.
    #[command(hide = true)]
    Locks(lock::Locks),
    /// The same as `mesh leader ls`, in the words of @panomapp/mesh.
    #[command(hide = true)]
    Leaders(lock::Locks),
    /// Make systemd units (Podman Quadlet) from manifests, so that services run without a controller.
    Quadlet(quadlet::Quadlet),
    /// Containers of Podman from manifests, without a controller.
    Podman(podman::Podman),
    /// Print plain Kubernetes manifests of what runs here.
    Export(export::Export),
    /// Look at the machine, and say what stands in the way and the command that mends it.
    Doctor(doctor::Doctor),
    /// Print a completion script for a shell.
    Completion(completion::Completion),
    /// Print the version.
    Version,
}

impl Mesh {
    /// How the process logs: `run` has a controller in it, the other verbs say all they have to say themselves.
    pub fn telemetry(&self) -> (LogFormat, String) {
        let filter = match &self.verb {
            Verb::Run(run) => run.log_level.clone(),
            // The client logs each error that it returns as well.
            _ => "warn,kube_client=off".to_owned(),
        };
        (LogFormat::Text, filter)
    }

    /// Does what was asked for.
    pub async fn run(self) -> Result {
        let target = self.target;
        match self.verb {
            Verb::Init(init) => init.run(),
            Verb::Import(import) => import.run(),
            Verb::Run(run) => Box::pin(run.run(target)).await,
            Verb::Ps(ps) => target.with(async |api| ps.run(api).await).await,
            Verb::Logs(logs) => target.with(async |api| logs.run(api).await).await,
            Verb::Why(why) => target.with(async |api| why.run(api).await).await,
            Verb::Stop(stop) => target.with(async |api| stop.run(api).await).await,
            Verb::Scale(scale) => target.with(async |api| scale.run(api).await).await,
            Verb::Restart(restart) => target.with(async |api| restart.run(api).await).await,
            Verb::Apply(apply) => target.with(async |api| apply.run(api).await).await,
            Verb::Delete(delete) => target.with(async |api| delete.run(api).await).await,
            Verb::Lock(lock) => Box::pin(lock.run(target)).await,
            Verb::Leader(leader) => Box::pin(leader.run(target)).await,
            Verb::Task(task) => target.with(async |api| task.run(api).await).await,
            Verb::Cleanup(cleanup) => target.with(async |api| cleanup.run(api).await).await,
            Verb::Locks(locks) => locks.run(target).await,
            Verb::Leaders(locks) => locks.leaders(target).await,
            Verb::Quadlet(quadlet) => Box::pin(quadlet.run(target.namespace())).await,
            Verb::Podman(podman) => Box::pin(podman.run(target)).await,
            Verb::Export(export) => Box::pin(export.run(target)).await,
            Verb::Doctor(doctor) => doctor.run(target.state_dir()).await,
            Verb::Completion(completion) => completion.run(),
            Verb::Version => output::print_line(&format!("mesh {}", env!("CARGO_PKG_VERSION"))),
        }
    }
}
