//! `mesh-controller install` and `uninstall`: the controller as a service of systemd (the system's manager, or the user's), with a socket unit for the router.
//! Owns two unit files and nothing else. What a person has changed in them stays unless --force is given; the state directory is never taken away.
mod chosen;
mod file;
pub(super) mod manager;
mod units;

use std::path::Path;

use clap::Args;

use self::{
    chosen::Chosen,
    file::UnitFile,
    manager::Manager,
    units::{SERVICE, SOCKET, Wanted},
};
use super::{
    backend::{self, BackendFlag},
    exit::{Code, Failure, Result},
    output, state_dir,
};

/// Make the controller a service of systemd: write its units, enable and start them.
///
/// All other flags of mesh-controller may be given as well: the service runs with them.
#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    whose: Whose,
    /// Only print what would be written.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    chosen: Chosen,
}

/// Take those units away; state and instances stay.
#[derive(Debug, Args)]
pub struct Uninstall {
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Args)]
struct Whose {
    /// For this user, without root: in the user's own systemd, with lingering so that it runs without a login.
    #[arg(long)]
    user: bool,
    /// Also where a unit was edited by hand.
    #[arg(long)]
    force: bool,
}

impl Install {
    /// Writes, enables, starts.
    pub(super) fn run(self) -> Result {
        let files = self.files()?;
        if self.dry_run {
            return files.iter().try_for_each(|file| output::print(&format!("# {}\n{}\n", file.path.display(), file.text())));
        }
        let manager = Manager::of(self.whose.user)?;
        if self.chosen.serve.backend.backend == BackendFlag::Process {
            backend::shim()?;
        }
        for file in &files {
            file.may_be_changed(self.whose.force)?;
        }
        let mut socket_moved = false;
        for file in &files {
            let changed = file.write()?;
            socket_moved |= changed && file.path.ends_with(SOCKET);
        }
        start(manager, socket_moved)?;
        output::print_line(&format!(
            "{SERVICE} runs, and starts at boot; the router is at http://{}/\n\
             state: {}\nlog: {}\nend it: {} stop {SOCKET} {SERVICE}\nthen take it away: mesh-controller uninstall{}",
            self.chosen.serve.machine.router_listen(),
            self.chosen.state_dir()?.display(),
            manager.journal(SERVICE),
            manager.systemctl(),
            if self.whose.user { " --user" } else { "" },
        ))?;
        manager.linger()
    }

    fn files(&self) -> Result<[UnitFile; 2]> {
        let Chosen { serve, flags } = &self.chosen;
        check_backend(serve.backend.backend)?;
        if serve.machine.router_listen().port() == 0 {
            return Err(Failure::new(Code::Usage, "--router-listen: a service needs a port of its own, not 0"));
        }
        if self.whose.user {
            manager::check_port(serve.machine.router_listen())?;
        }
        let program = std::env::current_exe().map_err(|error| Failure::from(error).context("finding this program"))?;
        let state_dir = self.chosen.state_dir()?;
        let wanted = Wanted {
            program: &program,
            backend: serve.backend.backend,
            user: self.whose.user,
            state_dir: &state_dir,
            router_listen: serve.machine.router_listen(),
            flags,
        };
        let dir = manager::unit_dir(self.whose.user)?;
        Ok([UnitFile::new(&dir, SOCKET, wanted.socket()?), UnitFile::new(&dir, SERVICE, wanted.service()?)])
    }
}

impl Chosen {
    /// Absolute: the service runs elsewhere.
    fn state_dir(&self) -> Result<std::path::PathBuf> {
        let dir = state_dir::or_default(self.serve.machine.state_dir.clone())?;
        std::path::absolute(&dir).map_err(|error| Failure::from(error).context(format!("--state-dir {}", dir.display())))
    }
}

fn check_backend(backend: BackendFlag) -> Result {
    match backend {
        BackendFlag::Process | BackendFlag::Podman | BackendFlag::Quadlet => Ok(()),
        BackendFlag::Kubernetes => {
            Err(Failure::new(Code::Usage, "--backend kubernetes: in a cluster the controller is a Deployment, not a service of systemd"))
        }
    }
}

fn start(manager: Manager, socket_moved: bool) -> Result {
    manager.run(&["daemon-reload"])?;
    manager.run(&["enable", SOCKET, SERVICE])?;
    if socket_moved {
        // A socket cannot move while its service runs.
        manager.run(&["stop", SOCKET, SERVICE])?;
    }
    manager.run(&["start", SOCKET])?;
    manager.run(&["restart", SERVICE]).map_err(|failure| {
        failure.context(format!("the units are written, but the service does not start ({} says why)", manager.journal(SERVICE)))
    })
}

impl Uninstall {
    /// Stops, disables, removes.
    pub(super) fn run(self) -> Result {
        let dir = manager::unit_dir(self.whose.user)?;
        let there: Vec<UnitFile> =
            [SOCKET, SERVICE].map(|name| UnitFile::new(&dir, name, String::new())).into_iter().filter(UnitFile::exists).collect();
        if there.is_empty() {
            return output::print_line(&format!("nothing to do: there is neither {SERVICE} nor {SOCKET} in {}", dir.display()));
        }
        let manager = Manager::of(self.whose.user)?;
        for file in &there {
            file.may_be_changed(self.whose.force)?;
        }
        let names: Vec<&str> = there.iter().filter_map(|file| file.path.file_name()?.to_str()).collect();
        manager.run(&[&["disable", "--now"], names.as_slice()].concat())?;
        for file in &there {
            file.remove()?;
        }
        manager.run(&["daemon-reload"])?;
        // Only a unit that had failed can be reset.
        let _ = manager.run(&["reset-failed", SERVICE]);
        output::print_line(&format!(
            "removed {}; state and instances are as they were (mesh delete --all before, or a mesh-controller on the same state directory, ends them)",
            names.join(" and ")
        ))
    }
}

/// How a path is named in messages of these verbs.
fn failed(act: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("{act} {}: {error}", path.display()))
}
