//! `mesh quadlet install`: secrets to the engine, files to their places, one reload, then what is new is started and what changed restarted.
mod secrets;

use std::process::Command;

use clap::Args;

use super::{
    Source,
    disk::{Change, Disk, State},
    files::Root,
    plan::{Member, Plan},
    show,
};
use crate::{
    exit::{Code, Failure, Result},
    install::manager::Manager,
    output,
};
use mesh_backend::quadlet::{names, render};

/// Write the units to where systemd and Podman read them, reload once, and start what is new.
#[derive(Debug, Args)]
pub(super) struct Install {
    #[command(flatten)]
    source: Source,
    /// Overwrite and remove files that somebody edited, too.
    #[arg(long)]
    force: bool,
    /// Write and reload only: start, restart and stop nothing.
    #[arg(long)]
    no_start: bool,
}

impl Install {
    /// Installs.
    pub(super) async fn run(self, namespace: Option<String>) -> Result {
        let plan = self.source.plan(namespace).await?;
        Manager::of(self.source.user).map_err(|failure| failure.context("nothing was installed"))?;
        let layout = self.source.installed()?;
        let disk = Disk::look(&layout, &plan)?;
        let systemd = Systemctl { user: self.source.user };
        if !self.force {
            // Before anything is stopped.
            let in_the_way = disk.in_state(&[State::Edited, State::Foreign]).next().is_some();
            if in_the_way {
                return disk.write(false).map(drop);
            }
        }
        let mut new_secrets = Vec::new();
        for secret in &plan.secrets {
            if secrets::give(secret)? {
                new_secrets.push(secret.name.as_str());
            }
        }
        // While their units are still there: without them systemd would not know how to stop them, nor what they are linked into.
        let (linked, generated) = gone(&disk);
        if !self.no_start {
            systemd.on("stop", &[&linked[..], &generated].concat())?;
            secrets::take_back(&disk, &plan)?;
        }
        systemd.on("disable", &linked)?;
        let done = disk.write(self.force)?;
        output::print(&show::written(&done, if self.source.user { "your systemd" } else { "systemd" }, &plan, self.force))?;
        systemd.reload()?;
        let linked: Vec<String> = plan.units.iter().filter(|(_, linked)| *linked).map(|(unit, _)| unit.clone()).collect();
        systemd.on("enable", &linked)?;
        if !self.no_start {
            start(&systemd, &plan, &disk, &new_secrets)?;
        }
        Ok(())
    }
}

/// Starts what is new and restarts what changed.
fn start(systemd: &Systemctl, plan: &Plan, disk: &Disk<'_>, new_secrets: &[&str]) -> Result {
    let changed: Vec<&Change> = disk.in_state(&[State::Changed, State::Edited, State::Foreign]).collect();
    let has_new = |member: &Member| {
        let secrets = render::secrets(&member.instance()).unwrap_or_default();
        secrets.iter().any(|secret| new_secrets.contains(&secret.name.as_str()))
    };
    // A task takes what is new when it runs next; its timer has to be told.
    let services = plan.members.iter().filter(|member| member.job.is_none());
    let touched = services.filter(|member| is_touched(member, &changed) || has_new(member)).map(Member::unit_name);
    let timers = changed.iter().filter(|change| is_timer(&change.path)).map(|change| change.path.clone());
    let restart: Vec<String> = touched.chain(timers).collect();
    let all: Vec<String> = plan.units.iter().map(|(unit, _)| unit.clone()).collect();
    systemd.on("restart", &restart)?;
    systemd.on("start", &all)?;
    let units = ["mesh-router.service", "mesh-router.socket"];
    if changed.iter().any(|change| units.contains(&change.path.as_str())) {
        systemd.on("restart", &units.map(ToOwned::to_owned))?;
    } else if changed.iter().any(|change| change.path == "mesh-router.yaml") {
        systemd.on("reload-or-restart", &["mesh-router.service".to_owned()])?;
    }
    let names = if all.len() > 8 { format!("{} units", all.len()) } else { all.join(", ") };
    if all.is_empty() { output::print_line("there is nothing to start") } else { output::print_line(&format!("started: {names}")) }
}

fn is_timer(unit: &str) -> bool {
    unit.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "timer")
}

/// Whether a file that makes an instance changed.
fn is_touched(member: &Member, changed: &[&Change]) -> bool {
    let stem = member.instance().stem();
    let own = names::file(&stem, Some(member.ordinal), "");
    let all = names::file(&stem, None, "");
    changed.iter().any(|change| {
        let name = change.path.split('/').nth(usize::from(change.root == Root::Quadlet)).unwrap_or_default();
        name.starts_with(&own) || name.starts_with(&all) || (change.root == Root::Data && change.path.starts_with(&format!("{stem}/")))
    })
}

/// The units that are about to go: those whose files are systemd's own, which may be linked into others, and those that are generated.
fn gone(disk: &Disk<'_>) -> (Vec<String>, Vec<String>) {
    let (mut linked, mut generated) = (Vec::new(), Vec::new());
    for change in disk.in_state(&[State::Unwanted]) {
        let name = change.path.rsplit('/').next().unwrap_or_default();
        match change.root {
            Root::Quadlet => {
                let stem = name.strip_suffix(".container").filter(|stem| !stem.ends_with('@'));
                generated.extend(stem.map(|stem| format!("{stem}.service")));
            }
            Root::Systemd => linked.push(name.to_owned()),
            Root::Data => {}
        }
    }
    (linked, generated)
}

/// The systemd of the machine or of the user.
pub(crate) struct Systemctl {
    pub(crate) user: bool,
}

impl Systemctl {
    /// Has systemd read its units again.
    ///
    /// # Errors
    /// What it said.
    pub(crate) fn reload(&self) -> Result {
        self.run("daemon-reload", &[])
    }

    /// Runs `systemctl VERB UNITS`, if there are any.
    ///
    /// # Errors
    /// What it said.
    pub(crate) fn on(&self, verb: &str, units: &[String]) -> Result {
        if units.is_empty() { Ok(()) } else { self.run(verb, units) }
    }

    fn run(&self, verb: &str, units: &[String]) -> Result {
        let mut command = Command::new("systemctl");
        if self.user {
            command.arg("--user");
        }
        let said = format!("systemctl {}{verb}", if self.user { "--user " } else { "" });
        let output = command.arg(verb).arg("--").args(units).output().map_err(|error| Failure::from(error).context(&said))?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::new(Code::Failed, format!("{said}: {why}")))
    }
}
