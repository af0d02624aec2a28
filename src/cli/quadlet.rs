//! `mesh quadlet`: units of systemd from manifests, without a controller: what would be made, made into a folder, checked, compared, installed.
//!
//! Manifests are checked by the embedded API in memory, as a controller would ([`load`]); [`make`] makes files of them by
//! [`mesh_backend::quadlet`]; [`disk`] compares them with what lies there. Nothing here talks to a controller.
mod calendar;
mod disk;
mod files;
mod generator;
pub(super) mod install;
mod make;
pub(super) mod plan;
mod redis;
mod router;
mod show;
mod task;
mod verify;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use self::{
    disk::Disk,
    files::{Layout, Root},
    plan::Plan,
};
use super::{
    address::address,
    exit::{Code, Failure, Result},
    load::Loaded,
    manifest, output,
};
use mesh_api::node::PortRange;
use mesh_backend::quadlet::{
    render::Host,
    version::{Podman, Systemd},
};

/// The version whose units are made where no Podman is installed and none is named.
const WITHOUT_PODMAN: Podman = Podman::new(5, 4);

/// Make systemd units (Podman Quadlet) from manifests, so that services and tasks run without a controller.
#[derive(Debug, Args)]
pub struct Quadlet {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print what would be made, and where each file would lie.
    Plan(PlanVerb),
    /// Write the units into a folder, to be kept under version control or copied.
    Generate(Generate),
    /// Check unit files: unknown and too new keys, wrong values, missing references; and ask the installed generator.
    Verify(verify::Verify),
    /// Print how the units that lie there differ from what would be made; exit code 1 if they do.
    Diff(Diff),
    /// Write the units to where systemd and Podman read them, reload once, and start what is new.
    Install(install::Install),
}

/// What the units are made from, and for.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Source {
    /// A manifest, a directory of them, or - for standard input; may be given several times [default: mesh.yaml in this directory].
    #[arg(short, long = "file", value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// The Podman that runs the units, for example 4.9; before 4.4 plain services are made [default: the installed one, else 5.4].
    #[arg(long, value_name = "VERSION")]
    podman_version: Option<Podman>,
    /// The systemd that runs the units, for example 252 [default: the installed one].
    #[arg(long, value_name = "NUMBER")]
    systemd_version: Option<u32>,
    /// For the systemd of this user instead of the machine's.
    #[arg(long)]
    user: bool,
    /// Also run Redis on the network of the services, where they reach it as redis:6379.
    #[arg(long, value_name = "IMAGE", num_args = 0..=1, default_missing_value = redis::IMAGE)]
    redis: Option<String>,
    /// Pull images in units of their own, so that a slow registry is no failed start. Needs Podman 5.6; 4.8 where imagePullPolicy is Always.
    #[arg(long)]
    image_units: bool,
    /// Put services with one instance into one pod per network (Podman 5.3): they share addresses and reach each other on localhost.
    #[arg(long)]
    pods: bool,
    /// Where instances get their ports from.
    #[arg(long, env = "MESH_PORT_RANGE", value_name = "FROM-TO", default_value_t)]
    port_range: PortRange,
    /// Where the router takes requests; below 1024 needs no root, because systemd opens it. May be given several times.
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "8080")]
    router_listen: Vec<String>,
    /// Where the router has /livez, /readyz and /metrics.
    #[arg(long, value_parser = address, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    router_admin_listen: SocketAddr,
    /// Make no units for the router.
    #[arg(long)]
    no_router: bool,
    /// Where mesh-controller lies, which is the router [default: beside this program].
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
    /// The name of these files as a whole: those of the same name that are no longer wanted are removed [default: the manifest's directory].
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
}

/// A folder to write to.
#[derive(Debug, Clone, Args)]
struct Folder {
    /// Where the files are: quadlet/ is for /etc/containers/systemd, systemd/ for /etc/systemd/system, data/ for /etc/mesh/quadlet.
    #[arg(short, long, value_name = "DIR", default_value = ".mesh/quadlet")]
    output_dir: PathBuf,
}

#[derive(Debug, Args)]
struct PlanVerb {
    #[command(flatten)]
    source: Source,
    /// Print the contents of the files as well.
    #[arg(long)]
    contents: bool,
}

#[derive(Debug, Args)]
struct Generate {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    folder: Folder,
    /// Overwrite and remove files that somebody edited, too.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Diff {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    folder: Folder,
    /// Compare with what is installed instead of a folder.
    #[arg(long, conflicts_with = "output_dir")]
    installed: bool,
}

impl Quadlet {
    /// Does what was asked for.
    pub async fn run(self, namespace: Option<String>) -> Result {
        match self.verb {
            Verb::Plan(verb) => {
                let plan = verb.source.plan(namespace).await?;
                output::print(&show::plan(&plan, verb.contents))
            }
            Verb::Generate(verb) => generate(verb, namespace).await,
            Verb::Verify(verb) => verb.run(),
            Verb::Diff(verb) => diff(verb, namespace).await,
            Verb::Install(verb) => verb.run(namespace).await,
        }
    }
}

/// `mesh podman generate` is the same.
#[derive(Debug, Args)]
pub struct PodmanGenerate {
    #[command(flatten)]
    generate: Generate,
}

impl PodmanGenerate {
    /// Writes the units.
    pub async fn run(self, namespace: Option<String>) -> Result {
        generate(self.generate, namespace).await
    }
}

async fn generate(verb: Generate, namespace: Option<String>) -> Result {
    let plan = verb.source.plan(namespace).await?;
    let layout = Layout::folder(&verb.folder.output_dir);
    let disk = Disk::look(&layout, &plan)?;
    let done = disk.write(verb.force)?;
    output::print(&show::written(&done, &verb.folder.output_dir.display().to_string(), &plan, verb.force))
}

async fn diff(verb: Diff, namespace: Option<String>) -> Result {
    let plan = verb.source.plan(namespace).await?;
    let layout = if verb.installed { verb.source.installed()? } else { Layout::folder(&verb.folder.output_dir) };
    let text = Disk::look(&layout, &plan)?.diff();
    output::print(&text)?;
    if text.is_empty() { Ok(()) } else { Err(Failure::said(Code::Failed)) }
}

impl Source {
    /// Where the files are installed.
    fn installed(&self) -> Result<Layout> {
        Layout::installed(self.user)
    }

    /// Reads, checks and plans.
    pub(super) async fn plan(&self, namespace: Option<String>) -> Result<Plan> {
        let layout = self.installed()?;
        let files = self.manifests()?;
        let loaded = Loaded::read(&files, namespace).await?;
        let host = Host {
            podman: self.podman(),
            systemd: self.systemd_version.map(Systemd).or_else(generator::systemd),
            data: layout.root(Root::Data).to_owned(),
            image_units: self.image_units,
        };
        let set = self.set.clone().unwrap_or_else(|| set_of(&files));
        make::plan(
            &loaded,
            &make::Wishes { host, ports: self.port_range, redis: self.redis.clone(), router: self.router()?, set, pods: self.pods },
        )
    }

    fn manifests(&self) -> Result<Vec<PathBuf>> {
        if !self.files.is_empty() {
            return Ok(self.files.clone());
        }
        let here = std::env::current_dir()?;
        let found = manifest::find_default(&here);
        let none = || Failure::new(Code::Usage, format!("none of {} is here: name a file with -f", manifest::DEFAULT_NAMES.join(", ")));
        Ok(vec![found.ok_or_else(none)?])
    }

    /// The Podman that is named, or installed, or the usual one.
    pub(super) fn podman(&self) -> Podman {
        self.podman_version.or_else(generator::podman).unwrap_or(WITHOUT_PODMAN)
    }

    fn router(&self) -> Result<Option<router::Router>> {
        if self.no_router {
            return Ok(None);
        }
        let beside = || std::env::current_exe().ok().and_then(|path| path.parent().map(ToOwned::to_owned));
        let dir = self.bin_dir.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("/usr/local/bin"));
        router::Router::new(dir, &self.router_listen, self.router_admin_listen).map(Some)
    }
}

/// The name of the directory that the first manifest lies in.
fn set_of(files: &[PathBuf]) -> String {
    let first = files.first().and_then(|path| path.canonicalize().ok());
    let dir = first.and_then(|path| if path.is_dir() { Some(path) } else { path.parent().map(ToOwned::to_owned) });
    let name = dir.and_then(|dir| dir.file_name().map(|name| name.to_string_lossy().into_owned()));
    name.filter(|name| mesh_backend::quadlet::names::is_plain(name)).unwrap_or_else(|| "mesh".to_owned())
}
