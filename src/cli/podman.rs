//! `mesh podman`: the same containers without units: what would be run, and an end to what runs.
use std::{collections::BTreeMap, process::Command};

use clap::{Args, Subcommand};
use kube::api::ListParams;
use serde::Deserialize;
use serde_json::json;

use super::{
    exit::{Code, Failure, Result},
    output,
    quadlet::{PodmanGenerate, Source, install::Systemctl},
    target::Target,
};
use mesh_api::labels;
use mesh_plan::container::Source as Mounted;

/// Containers of Podman from manifests, without a controller.
#[derive(Debug, Args)]
pub struct Podman {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the networks, volumes, secrets and `podman run` lines of the containers.
    Plan(PlanVerb),
    /// The same as `mesh quadlet generate`.
    Generate(PodmanGenerate),
    /// End containers that mesh made, where no controller does it.
    Stop(Stop),
}

#[derive(Debug, Args)]
struct PlanVerb {
    #[command(flatten)]
    source: Source,
    /// Print JSON: an argument vector per container.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Stop {
    /// A service, an instance or a container; all that mesh made if left out.
    #[arg(value_name = "TARGET")]
    what: Option<String>,
    /// Of the systemd of this user, where units run them.
    #[arg(long)]
    user: bool,
}

impl Podman {
    /// Does what was asked for.
    pub async fn run(self, target: Target) -> Result {
        match self.verb {
            Verb::Plan(plan) => plan.run(target.namespace()).await,
            Verb::Generate(generate) => generate.run(target.namespace()).await,
            Verb::Stop(stop) => stop.run(target).await,
        }
    }
}

impl PlanVerb {
    async fn run(self, namespace: Option<String>) -> Result {
        let plan = self.source.plan(namespace).await?;
        let mut runs = Vec::new();
        for member in &plan.members {
            let argv = member.argv(&plan.host).map_err(|error| Failure::new(Code::Invalid, error.to_string()))?;
            runs.push((member.container.name.as_str(), argv));
        }
        if self.json {
            let list: Vec<_> = runs.iter().map(|(name, argv)| json!({ "name": name, "argv": argv })).collect();
            let text = serde_json::to_string_pretty(&list).map_err(anyhow::Error::from)?;
            return output::print_line(&text);
        }
        let mut lines = Vec::new();
        for member in &plan.members {
            lines.push(format!("podman network exists {0} || podman network create {0}", member.container.network));
            lines.extend(member.container.mounts.iter().filter_map(|mount| match &mount.source {
                Mounted::Volume { volume, .. } => Some(format!("podman volume exists {volume} || podman volume create {volume}")),
                Mounted::Files { .. } | Mounted::Host { .. } | Mounted::Controllers { .. } | Mounted::Memory { .. } => None,
            }));
        }
        lines.extend(plan.secrets.iter().map(|secret| format!("podman secret create {} -    # {}", secret.name, secret.field)));
        lines.extend(runs.iter().map(|(_, argv)| line(argv)));
        lines.extend(plan.notes.iter().map(|note| format!("# {note}")));
        let mut seen = std::collections::BTreeSet::new();
        lines.retain(|line| seen.insert(line.clone()));
        output::print(&(lines.join("\n") + "\n"))
    }
}

/// A line that a shell splits into these words. What only systemd needs is left out.
fn line(argv: &[String]) -> String {
    let systemds = ["--sdnotify=conmon", "--cgroups=split", "--log-driver=journald", "--log-driver=passthrough"];
    let words = argv.iter().filter(|word| !systemds.contains(&word.as_str()));
    words.map(|word| mesh_convert::words::quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A container, as `podman ps --format json` has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    names: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Found {
    fn name(&self) -> &str {
        self.names.first().map(String::as_str).unwrap_or_default()
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    fn is(&self, what: &str) -> bool {
        self.name() == what || [labels::SERVICE, labels::INSTANCE].iter().any(|label| self.label(label) == Some(what))
    }

    /// The unit that would start it again.
    fn unit(&self) -> Option<&str> {
        self.label(labels::SYSTEMD_UNIT)
    }
}

impl Stop {
    async fn run(self, target: Target) -> Result {
        // A controller would start them again at once.
        let served = target
            .with(async |api| {
                api.services().list(&ListParams::default().limit(1)).await?;
                Ok(())
            })
            .await;
        if served.is_ok() {
            let what = self.what.map(|what| format!(" {what}")).unwrap_or_default();
            let text = format!("a controller answers here and would start them again: use `mesh stop{what}` (or `mesh scale`)");
            return Err(Failure::new(Code::Conflict, text));
        }
        let found = running()?;
        let chosen: Vec<&Found> = found.iter().filter(|found| self.what.as_deref().is_none_or(|what| found.is(what))).collect();
        if chosen.is_empty() {
            let what = self.what.as_deref().unwrap_or("mesh");
            return output::print_line(&format!("no container of {what} runs here (`podman ps` lists all)"));
        }
        for found in chosen {
            if let Some(unit) = found.unit() {
                Systemctl { user: self.user }.on("stop", &[unit.to_owned()])?;
                output::print_line(&format!("{} stopped (unit {unit}; `systemctl start` brings it back)", found.name()))?;
            } else {
                podman(&["stop", "--", found.name()])?;
                output::print_line(&format!("{} stopped", found.name()))?;
            }
        }
        Ok(())
    }
}

/// The containers of ours that run.
fn running() -> Result<Vec<Found>> {
    let filter = format!("label={}={}", labels::APP_MANAGED_BY, labels::MANAGER);
    let text = podman(&["ps", "--filter", &filter, "--format", "json"])?;
    Ok(serde_json::from_str(&text).map_err(|error| anyhow::anyhow!("podman ps: {error}"))?)
}

fn podman(args: &[&str]) -> Result<String> {
    let said = || format!("podman {}", args.first().copied().unwrap_or_default());
    let output = Command::new("podman").args(args).output().map_err(|error| Failure::from(error).context(said()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::new(Code::Failed, format!("{}: {}", said(), String::from_utf8_lossy(&output.stderr).trim())))
}
