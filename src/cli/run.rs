//! `mesh run`: everything in the foreground. Finds the manifests, starts a controller on the project's `.mesh`, applies, shows logs and progress
//! until a signal comes or nobody reads them any more, then ends all that runs. The state directory belongs to it: what an earlier run left behind is taken up or ended.
pub(crate) mod exposed;
mod finish;
mod plan;
mod progress;
mod state;

use std::{convert::Infallible, net::SocketAddr, path::PathBuf, pin::pin, time::Duration};

use clap::Args;
use futures::{FutureExt, future::FusedFuture};
use kube::Client;
use tokio::sync::watch;

use super::{
    address::address,
    apply::{How, Told, apply_all},
    backend::BackendArgs,
    coordination::CoordinationArgs,
    exit::{Code, Failure, Result},
    follow::{Follow, Which, follow, source::Part},
    hostname::hostname,
    load,
    manifest::Document,
    output,
    paint::Paint,
    printer::{Printed, Printer, Style},
    serve::{self, ServeOptions, Serving},
    signals::Signals,
    target::{Connection, Target},
};
use mesh_api::node::PortRange;
use mesh_controllers::mesh_instance::ledger::Unknown;
use mesh_kit::clock;
use mesh_kit::shutdown::{Shutdown, Supervisor};
use mesh_router::listener::passed::Passed;

/// How long the controller's own tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long the last lines of instances that have ended may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How many old lines are shown of an instance that is taken up from an earlier run.
const OLD_LINES: u64 = 10;

/// Run services in the foreground, with API and router, until Ctrl-C.
#[derive(Debug, Args)]
pub struct Run {
    /// Which services and tasks of the manifests, with those that they need; all of them if -f or --all is given.
    #[arg(value_name = "SERVICE|TASK")]
    services: Vec<String>,
    /// All services and tasks of the manifests.
    #[arg(long, conflicts_with = "services")]
    all: bool,
    /// A manifest, or a directory of them [default: mesh.yaml, mesh.yml, meshservice.yaml or mesh/ in the project directory].
    #[arg(short, long = "file", value_name = "FILE|DIR")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    backend: BackendArgs,
    /// How many instances, for the one SERVICE.
    #[arg(long, value_name = "N", requires = "services", value_parser = clap::value_parser!(u32).range(0..=1000))]
    instances: Option<u32>,
    /// What a relative workingDir is relative to; holds .mesh, unless --state-dir is given.
    #[arg(long, env = "MESH_PROJECT_DIR", value_name = "DIR", default_value = ".")]
    project_dir: PathBuf,
    /// Where the router listens; port 0 lets the system choose.
    #[arg(long, value_parser = address, env = "MESH_ROUTER_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    router_listen: SocketAddr,
    /// Where the API listens.
    #[arg(long, value_parser = address, env = "MESH_API_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:0")]
    api_listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, value_parser = address, env = "MESH_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:0")]
    admin_listen: SocketAddr,
    /// Where instances get their ports from.
    #[arg(long, env = "MESH_PORT_RANGE", value_name = "FROM-TO", default_value_t)]
    port_range: PortRange,
    #[command(flatten)]
    coordination: CoordinationArgs,
    /// What the controller logs of itself: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long, env = "MESH_LOG_LEVEL", value_name = "FILTER", default_value = "warn")]
    pub(super) log_level: String,
}

impl Run {
    /// Runs until a signal comes or nobody reads its output, and ends all that runs.
    pub async fn run(self, target: Target) -> Result {
        if target.kubeconfig.is_some() {
            return Err(Failure::new(Code::Usage, "run starts an API of its own: leave --kubeconfig out, or use `mesh apply` with it"));
        }
        let project = plan::project(&self.project_dir)?;
        let documents = plan::documents(&self, &project)?;
        let namespace = target.namespace().unwrap_or_else(|| "default".to_owned());
        // Before anything starts, and before what an earlier run has left is looked after: a typo must end nothing.
        load::check(&documents, &namespace).await?;
        let state_dir = state::prepare(target.state_dir().as_deref(), &project)?;
        for warning in exposed::warnings(&documents, &project, &state_dir) {
            output::complain("mesh", &warning);
        }
        let mut signals = Signals::new()?;
        let (shutdown, supervisor) = Shutdown::new();
        let serving = serve::start(self.options(state_dir, project)?, Passed::default(), &shutdown).await?;
        let connection = Connection { client: serving.client.clone(), namespace };
        let (printer, end_of_print) = Printer::start(Style { paint: Paint::detect(), names: true, times: false, lossy: true })?;
        let session = Session { connection, serving, printer, end_of_print, supervisor };
        Box::pin(session.run(&documents, &mut signals)).await
    }

    fn options(&self, state_dir: PathBuf, project_dir: PathBuf) -> Result<ServeOptions> {
        Ok(ServeOptions {
            state_dir,
            project_dir,
            api_listen: self.api_listen,
            router_listen: self.router_listen,
            admin_listen: self.admin_listen,
            agent_socket: None,
            agent_listen: None,
            port_range: self.port_range,
            node_name: hostname(),
            backend: self.backend.chosen()?,
            coordination: self.coordination.options()?,
            // What an earlier run has left is not wanted.
            unknown: Unknown::End,
        })
    }
}

/// A run that has begun: it must be finished.
struct Session {
    connection: Connection,
    serving: Serving,
    printer: Printer,
    end_of_print: Printed,
    supervisor: Supervisor,
}

impl Session {
    async fn run(mut self, documents: &[Document], signals: &mut Signals) -> Result {
        let (last, ends) = watch::channel(false);
        let (client, printer) = (self.connection.client.clone(), self.printer.clone());
        // From before anything is applied until all have ended, so that neither first nor last words are lost.
        let mut logs = pin!(logs(client, ends, printer).fuse());
        let (end, attended) = tokio::select! {
            end = self.work(documents, signals) => end,
            end = &mut logs => (end, true),
        };
        let Self { connection, serving, printer, end_of_print, supervisor } = self;
        let finishing = Box::pin(finish::finish(&connection, &serving.backend, attended, &printer, signals));
        let ended = beside(finishing, &mut logs).await;
        // Nobody may be waiting for it.
        let _ = last.send(true);
        let _ = tokio::time::timeout(LAST_WORDS, logs).await;
        if ended {
            printer.say("all instances have ended").await;
        }
        supervisor.finish(GRACE).await;
        drop(printer);
        end_of_print.finish_soon().await.and(end)
    }

    /// Ends by a signal, or because something failed; and whether the controllers still work.
    async fn work(&mut self, documents: &[Document], signals: &mut Signals) -> (Result, bool) {
        let Self { connection, serving, printer, supervisor, .. } = self;
        let services = async {
            begin(connection, documents, printer).await?;
            progress::progress(connection, serving, documents, printer).await
        };
        tokio::select! {
            end = services => (end, true),
            code = signals.next() => (Err(Failure::said(code)), true),
            death = supervisor.death() => (Err(Failure::new(Code::Failed, format!("a part of the controller ended: {death}"))), false),
        }
    }
}

async fn begin(connection: &Connection, documents: &[Document], printer: &Printer) -> Result {
    finish::end_others(connection, documents, printer).await?;
    apply_all(connection, documents, How { force: true, ..How::default() }, Told::Run(printer)).await
}

/// Shows what all instances write, until nobody reads it (`mesh run | head`), or, once `ends`, until the last one is gone.
async fn logs(client: Client, ends: watch::Receiver<bool>, printer: Printer) -> Result {
    let part = Part { tail: Some(OLD_LINES), ..Part::all() };
    follow(&client, Follow { namespace: None, which: Which::All, part, begun: clock::now(), ends }, &printer).await
}

/// Does something while the logs go on, if they do.
async fn beside<T>(work: impl Future<Output = T>, logs: &mut (impl FusedFuture + Unpin)) -> T {
    let logs = async {
        if !logs.is_terminated() {
            logs.await;
        }
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        done = work => done,
        never = logs => match never {},
    }
}
