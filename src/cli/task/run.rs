//! `mesh task run` and `mesh task logs`: one run, from its first line to what it came to.
use clap::Args;
use futures::{StreamExt, TryStreamExt, pin_mut};
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher, watcher::watcher as watch},
};

use super::find;
use crate::{
    exit::{Code, Failure, Result},
    follow::source::{Part, Source},
    instance::mesh,
    output,
    paint::Paint,
    printer::{Message, Printer, Style},
    target::Connection,
};
use mesh_api::{MeshInstance, MeshTask, instance::InstanceState, task::TaskRunStatus};
use mesh_controllers::mesh_task::{Asked, ask};
use mesh_plan::task;

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// Print what it writes, and wait for its end: the exit code is 1 if it failed. Ctrl-C ends the waiting, not the run.
    #[arg(short, long)]
    wait: bool,
    /// Arguments in the place of the task's own.
    #[arg(last = true, value_name = "ARG")]
    args: Vec<String>,
}

impl Run {
    pub(super) async fn run(self, connection: &Connection) -> Result {
        let task = find(connection, &self.task).await?;
        if task.spec.http.is_some() && !self.args.is_empty() {
            return Err(Failure::new(Code::Usage, format!("{} is a request, which has no arguments", self.task)));
        }
        let asked = Asked { args: (!self.args.is_empty()).then_some(self.args), ..Asked::default() };
        let made = ask(&connection.client, &task, asked).await.map_err(|error| Failure::new(Code::Failed, error.to_string()));
        let run = made.map_err(|failure| failure.context(format!("task {}", self.task)))?;
        let name = run.name_any();
        output::remark(&format!("mesh: {name} is made\n"));
        if !self.wait {
            return output::print_line(&name);
        }
        let end = show(connection, run, Part::all(), true, false).await?;
        let told = end.as_ref().map(task::told);
        match told {
            Some(TaskRunStatus { state: InstanceState::Succeeded, .. }) => Ok(()),
            Some(told) => Err(Failure::new(Code::Failed, format!("{name} failed: {}", told.message))),
            None => Err(Failure::new(Code::Failed, format!("{name} was deleted before it had come to its end"))),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The task.
    #[arg(value_name = "TASK")]
    task: String,
    /// This run of it, as `mesh task ls TASK` lists them; the newest if left out.
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Go on until the run has come to its end.
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines.
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Put the time of each line before it.
    #[arg(long)]
    timestamps: bool,
}

impl Logs {
    pub(super) async fn run(self, connection: &Connection) -> Result {
        let task = find(connection, &self.task).await?;
        let name = self.chosen(&task)?;
        let Some(run) = connection.instances().get_opt(&name).await? else {
            return Err(Failure::new(Code::Failed, format!("{name} is gone: the history limits of {} keep fewer runs", self.task)));
        };
        if task::request(&run).is_some() {
            let words = run.status.and_then(|status| status.last_words).unwrap_or_default();
            output::remark(&format!("mesh: {name} is a request; this is the beginning of the answer\n"));
            return output::print_line(&words);
        }
        show(connection, run, Part { tail: self.tail, ..Part::all() }, self.follow, self.timestamps).await.map(drop)
    }

    fn chosen(&self, task: &MeshTask) -> Result<String> {
        let runs: Vec<String> = task.status.iter().flat_map(|status| &status.runs).map(|run| run.name.clone()).collect();
        let wrong = |text: String| Err(Failure::new(Code::Failed, text));
        match (&self.run, runs.first()) {
            (_, None) => wrong(format!("{} has not run yet, or its history limits keep no run", self.task)),
            (None, Some(newest)) => Ok(newest.clone()),
            (Some(run), _) if runs.contains(run) => Ok(run.clone()),
            (Some(run), _) => wrong(format!("{} has no run {run:?}; its runs: {}", self.task, runs.join(", "))),
        }
    }
}

/// Prints what a run writes; if `follow`, to its end. The run as it was last seen; none if it is gone.
async fn show(connection: &Connection, run: MeshInstance, part: Part, follow: bool, times: bool) -> Result<Option<MeshInstance>> {
    let source = Source::new(&connection.client, &mesh::instance(&run));
    let style = Style { paint: Paint::detect(), names: false, times, lossy: false };
    let (printer, end_of_print) = Printer::start(style)?;
    let mut rest = part;
    let end = if follow {
        let followed = async {
            let Some(mut lines) = source.open(&rest, true).await? else { return Ok(()) };
            while let Some(line) = lines.next().await {
                rest = line.at.map_or_else(|| rest.clone(), Part::after);
                if !printer.print(Message::Log { id: source.id().to_owned(), at: line.at, line: line.text }).await {
                    break;
                }
            }
            Ok::<_, Failure>(())
        };
        let end = end_of(connection, &run);
        pin_mut!(followed, end);
        let ended = tokio::select! {
            end = &mut end => Some(end?),
            done = &mut followed => { done?; None }
            () = printer.unread() => return Ok(Some(run.clone())),
        };
        match ended {
            Some(end) => end,
            None => end.await?,
        }
    } else {
        Some(run)
    };
    if let Some(mut lines) = source.open(&rest, false).await? {
        while let Some(line) = lines.next().await {
            if !printer.print(Message::Log { id: source.id().to_owned(), at: line.at, line: line.text }).await {
                break;
            }
        }
    }
    drop(printer);
    end_of_print.finish().await?;
    Ok(end)
}

/// The run once it has come to its end; none if it is gone.
async fn end_of(connection: &Connection, run: &MeshInstance) -> Result<Option<MeshInstance>> {
    let config = watcher::Config::default().fields(&format!("metadata.name={}", run.name_any()));
    let events = watch(connection.instances(), config).default_backoff();
    pin_mut!(events);
    let mut is_there = false;
    loop {
        match events.try_next().await.map_err(anyhow::Error::from)? {
            Some(watcher::Event::Apply(seen) | watcher::Event::InitApply(seen)) if seen.uid() == run.uid() => {
                is_there = true;
                if task::is_finished(&seen) {
                    return Ok(Some(seen));
                }
            }
            Some(watcher::Event::Delete(_)) | None => return Ok(None),
            Some(watcher::Event::Init) => is_there = false,
            Some(watcher::Event::InitDone) if !is_there => return Ok(None),
            Some(_) => {}
        }
    }
}
