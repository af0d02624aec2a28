//! `mesh task ls`: the tasks, or the runs of one.
use clap::Args;
use jiff::Timestamp;
use kube::{Api, ResourceExt, api::ListParams};

use super::find;
use crate::{age::age, exit::Result, output, table::table, target::Connection};
use mesh_api::{
    MeshTask,
    conditions::{is_true, task::READY},
    task::{MissedRuns, TaskRunStatus},
};
use mesh_kit::clock;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Its runs, newest first, and the times of its schedule that had none.
    #[arg(value_name = "TASK")]
    task: Option<String>,
    /// As JSON: an array of the tasks, each with its status.
    #[arg(long)]
    json: bool,
    /// Of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "task")]
    all_namespaces: bool,
}

impl List {
    pub(super) async fn run(self, connection: &Connection) -> Result {
        let now = clock::now();
        if let Some(name) = &self.task {
            let task = find(connection, name).await?;
            return if self.json { print_json(&[task]) } else { output::print(&of_one(&task, now)) };
        }
        let tasks: Api<MeshTask> = if self.all_namespaces { Api::all(connection.client.clone()) } else { connection.tasks() };
        let tasks = tasks.list(&ListParams::default()).await?.items;
        if tasks.is_empty() && !self.all_namespaces {
            connection.namespace_is_there().await?;
        }
        if self.json {
            return print_json(&tasks);
        }
        if tasks.is_empty() {
            return output::print_line("there are no tasks here; `mesh apply -f FILE` adds one");
        }
        output::print(&of_all(&tasks, self.all_namespaces, now))
    }
}

fn print_json(tasks: &[MeshTask]) -> Result {
    output::print_line(&serde_json::to_string_pretty(tasks).map_err(anyhow::Error::from)?)
}

fn of_all(tasks: &[MeshTask], namespaces: bool, now: Timestamp) -> String {
    let row = |task: &MeshTask| {
        let status = task.status.clone().unwrap_or_default();
        let zone = task.spec.time_zone.as_ref().map(|zone| format!(" {zone}")).unwrap_or_default();
        let schedule = task.spec.schedule.as_ref().map_or_else(|| "-".to_owned(), |schedule| format!("{schedule}{zone}"));
        let last = status.runs.first();
        let last_run = last.map_or_else(|| "-".to_owned(), |run| format!("{:?}{}", run.state, ago(run, now)));
        let next = match &status.next_schedule_time {
            _ if task.spec.suspend && task.spec.schedule.is_some() => "suspended".to_owned(),
            Some(next) => format!("in {}", age(now, next.0)),
            None => "-".to_owned(),
        };
        let refused = status.conditions.iter().find(|c| c.type_ == READY).filter(|_| !is_true(&status.conditions, READY));
        let problem = refused.map(|c| c.message.clone()).or_else(|| last.and_then(problem)).unwrap_or_default();
        let cells = [task.name_any(), schedule, status.active.to_string(), last_run, next, status.missed_count.to_string(), problem];
        namespaces.then(|| task.namespace().unwrap_or_default()).into_iter().chain(cells).collect()
    };
    let head = ["TASK", "SCHEDULE", "ACTIVE", "LAST RUN", "NEXT", "MISSED", "PROBLEM"];
    let head: Vec<&str> = namespaces.then_some("NAMESPACE").into_iter().chain(head).collect();
    table(&head, &tasks.iter().map(row).collect::<Vec<_>>())
}

/// The runs, and below them what was missed.
fn of_one(task: &MeshTask, now: Timestamp) -> String {
    let status = task.status.clone().unwrap_or_default();
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |run: &TaskRunStatus| {
        let took = run.start_time.as_ref().zip(run.completion_time.as_ref()).map(|(from, to)| age(from.0, to.0));
        vec![
            run.name.clone(),
            format!("{:?}", run.state),
            dash(run.scheduled_time.as_ref().map(|time| time.0.to_string())),
            dash(run.start_time.as_ref().map(|time| age(time.0, now))),
            dash(took),
            run.tries.to_string(),
            dash(run.exit_code.map(|code| code.to_string())),
            problem(run).or_else(|| run.last_words.as_ref().and_then(|words| last_line(words))).unwrap_or_default(),
        ]
    };
    let mut text = if status.runs.is_empty() {
        "no run of it is kept\n".to_owned()
    } else {
        let head = ["RUN", "STATE", "SCHEDULED", "AGE", "TOOK", "TRIES", "EXIT", "LAST WORDS"];
        table(&head, &status.runs.iter().map(row).collect::<Vec<_>>())
    };
    if status.missed_count > 0 {
        let row =
            |missed: &MissedRuns| vec![missed.from.0.to_string(), missed.to.0.to_string(), missed.count.to_string(), missed.reason.clone()];
        let missed = table(&["MISSED FROM", "TO", "TIMES", "REASON"], &status.missed.iter().rev().map(row).collect::<Vec<_>>());
        let times = if status.missed_count == 1 {
            "1 time had no run:".to_owned()
        } else {
            format!("{} times had no run; the newest of them:", status.missed_count)
        };
        text = format!("{text}\n{times}\n{missed}");
    }
    text
}

fn ago(run: &TaskRunStatus, now: Timestamp) -> String {
    let when = run.completion_time.as_ref().or(run.start_time.as_ref());
    when.map(|when| format!(" {} ago", age(when.0, now))).unwrap_or_default()
}

/// What is wrong with a run, and what it said last.
fn problem(run: &TaskRunStatus) -> Option<String> {
    let words = run.last_words.as_ref().and_then(|words| last_line(words)).map(|words| format!(": {words}")).unwrap_or_default();
    (!run.message.is_empty()).then(|| format!("{}{words}", run.message))
}

fn last_line(words: &str) -> Option<String> {
    let line = words.lines().rfind(|line| !line.trim().is_empty())?;
    Some(line.chars().take(120).collect())
}
