//! `mesh-controller`: its verbs. Without one it is the controller.
mod flags;
pub(super) mod serve;

use clap::{Parser, Subcommand};

use self::serve::Serve;
use super::{
    agent::Agent,
    crd::Crd,
    exit::Result,
    install::{Install, Uninstall},
    ready::Ready,
    router::Router,
};
use mesh_kit::telemetry::LogFormat;
use mesh_router::listener::passed::Passed;

/// Runs what MeshServices declare: API, controllers, node agent and router in one process.
#[derive(Debug, Parser)]
#[command(name = "mesh-controller", version, after_help = super::EXIT_CODES, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Daemon {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the controller (the same as without a verb).
    Run(Box<Serve>),
    /// Run the router alone, for another API or for files.
    Router(Box<Router>),
    /// Run the agent in a cluster, by which the programs of pods talk to the mesh.
    Agent(Agent),
    /// Make the controller a service of systemd: write its units, enable and start them.
    Install(Box<Install>),
    /// Take those units away; state and instances stay.
    Uninstall(Uninstall),
    /// Print the CustomResourceDefinitions as YAML.
    Crd(Crd),
    /// Ask admin ports whether what is behind them is ready.
    Ready(Ready),
}

impl Daemon {
    /// How the process logs.
    pub fn telemetry(&self) -> (LogFormat, String) {
        let log = match &self.verb {
            Some(Verb::Run(serve)) => &serve.log,
            Some(Verb::Router(router)) => &router.log,
            Some(Verb::Agent(agent)) => &agent.log,
            Some(Verb::Crd(_) | Verb::Ready(_) | Verb::Install(_) | Verb::Uninstall(_)) | None => &self.serve.log,
        };
        log.telemetry()
    }

    /// Does what was asked for, with the sockets that systemd passed.
    pub async fn run(self, passed: Passed) -> Result {
        match self.verb {
            Some(Verb::Crd(crd)) => crd.run(),
            Some(Verb::Ready(ready)) => ready.run().await,
            Some(Verb::Router(router)) => Box::pin(router.run(passed)).await,
            Some(Verb::Agent(agent)) => Box::pin(agent.run()).await,
            Some(Verb::Install(install)) => install.run(),
            Some(Verb::Uninstall(uninstall)) => uninstall.run(),
            Some(Verb::Run(serve)) => Box::pin(serve.run(passed)).await,
            None => Box::pin(self.serve.run(passed)).await,
        }
    }
}
