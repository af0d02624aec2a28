//! `mesh task`: what runs to its end, and what came of it.
mod list;
mod patience;
mod ran;
mod run;

use clap::{Args, Subcommand};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    apply::FIELD_MANAGER,
    exit::{Code, Failure, Result, each},
    output,
    target::Connection,
};
use mesh_api::MeshTask;
use mesh_kit::meant::did_you_mean;

/// Tasks: list them and their runs, run one now, read its output, let its schedule rest.
#[derive(Debug, Args)]
pub struct Task {
    #[command(subcommand)]
    verb: TaskVerb,
}

#[derive(Debug, Subcommand)]
enum TaskVerb {
    /// List the tasks; with a TASK, its runs and the times that had none.
    #[command(visible_alias = "list")]
    Ls(list::List),
    /// Run a task now, whatever its schedule says.
    Run(run::Run),
    /// Print what a task's newest run wrote, or what another run of it did.
    Logs(run::Logs),
    /// Let the schedules of tasks rest: no run starts until they are resumed. Runs that go on go on.
    Suspend(Rest),
    /// Take schedules up again. Of the times that went by meanwhile the latest is started, as after a downtime.
    Resume(Rest),
}

#[derive(Debug, Args)]
struct Rest {
    /// The tasks.
    #[arg(required = true, value_name = "TASK")]
    tasks: Vec<String>,
}

impl Task {
    /// Does it.
    pub async fn run(self, connection: &Connection) -> Result {
        match self.verb {
            TaskVerb::Ls(list) => list.run(connection).await,
            TaskVerb::Run(run) => Box::pin(run.run(connection)).await,
            TaskVerb::Logs(logs) => Box::pin(logs.run(connection)).await,
            TaskVerb::Suspend(rest) => rest.set(connection, true).await,
            TaskVerb::Resume(rest) => rest.set(connection, false).await,
        }
    }
}

impl Rest {
    async fn set(self, connection: &Connection, suspend: bool) -> Result {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": { "suspend": suspend } }));
        each(self.tasks, async |name| {
            let task = find(connection, &name).await?;
            let no_schedule = if task.spec.schedule.is_none() { " (it has no schedule: it runs when asked all the same)" } else { "" };
            connection.tasks().patch(&name, &params, &patch).await?;
            output::print_line(&format!("{name} {}{no_schedule}", if suspend { "suspended" } else { "resumed" }))
        })
        .await
    }
}

/// The task of that name; says which there are if there is none.
async fn find(connection: &Connection, name: &str) -> Result<MeshTask> {
    if let Some(task) = connection.tasks().get_opt(name).await? {
        return Ok(task);
    }
    let all = connection.tasks().list(&ListParams::default()).await?.items;
    if all.is_empty() {
        connection.namespace_is_there().await?;
    }
    let names: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
    let meant = did_you_mean(name, names.iter().map(String::as_str));
    let here = if names.is_empty() { "there are no tasks here".to_owned() } else { format!("tasks here: {}", names.join(", ")) };
    Err(Failure::new(Code::Failed, format!("no task is called {name:?}{meant}; {here}")))
}

/// `mesh cleanup`, as the first seed has it.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Cleanup {
    /// Says whether there is something that is looked after on a schedule.
    pub async fn run(self, connection: &Connection) -> Result {
        let tasks = connection.tasks().list(&ListParams::default()).await?.items;
        let scheduled = tasks.iter().filter(|task| task.spec.schedule.is_some() && !task.spec.suspend).count();
        let note = match scheduled {
            0 => "no MeshTask with a schedule is here".to_owned(),
            1 => "1 MeshTask runs on a schedule; `mesh task ls` lists it".to_owned(),
            count => format!("{count} MeshTasks run on a schedule; `mesh task ls` lists them"),
        };
        if self.json {
            return output::print_line(&json!({ "enabled": scheduled > 0, "backend": "kubernetes-api", "note": note }).to_string());
        }
        output::print_line(&note)
    }
}
