//! `mesh task run` and `mesh task logs`: one run, from its first line to what it came to.
use clap::Args;
use futures::{StreamExt, pin_mut};
use tokio::time::sleep;

use super::{
    find,
    patience::Patience,
    ran::{LOOK, Ran},
};
use crate::{
    exit::{Code, Failure, Result},
    follow::source::{Part, Source},
    output,
    paint::Paint,
    printer::{Message, Printer, Style},
    target::Connection,
};
use mesh_api::{MeshTask, instance::InstanceState, task::TaskRunStatus};

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
        let args = (!self.args.is_empty()).then_some(self.args);
        let run = Ran::ask(connection, &task, args).await.map_err(|failure| failure.context(format!("task {}", self.task)))?;
        let name = run.name();
        output::remark(&format!("mesh: {name} is made\n"));
        if !self.wait {
            return output::print_line(&name);
        }
        match show(connection, &run, Part::all(), true, false).await? {
            Ended::Unread | Ended::Told(Some(TaskRunStatus { state: InstanceState::Succeeded, .. })) => Ok(()),
            Ended::Told(Some(told)) => Err(Failure::new(Code::Failed, format!("{name} failed: {}", told.message))),
            Ended::Told(None) => Err(Failure::new(Code::Failed, format!("{name} was deleted before it had come to its end"))),
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
        let Some(run) = Ran::find(connection, &name).await? else {
            return Err(Failure::new(Code::Failed, format!("{name} is gone: the history limits of {} keep fewer runs", self.task)));
        };
        if let Some(words) = run.answer() {
            output::remark(&format!("mesh: {name} is a request; this is the beginning of the answer\n"));
            return output::print_line(&words);
        }
        show(connection, &run, Part { tail: self.tail, ..Part::all() }, self.follow, self.timestamps).await.map(drop)
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

/// What a run came to, as far as it was waited for.
enum Ended {
    /// Nobody waited, or reads any more.
    Unread,
    /// This; none if it is gone.
    Told(Option<TaskRunStatus>),
}

/// Prints what a run writes; if `follow`, to its end.
async fn show(connection: &Connection, run: &Ran, part: Part, follow: bool, times: bool) -> Result<Ended> {
    let style = Style { paint: Paint::detect(), names: false, times, lossy: false };
    let (printer, end_of_print) = Printer::start(style)?;
    let mut reader = Reader { connection, run, printer, of: None, rest: part };
    let end = if follow {
        let end = run.end(connection);
        pin_mut!(end);
        let unread = reader.printer.clone();
        tokio::select! {
            end = &mut end => Ended::Told(end?),
            broken = reader.follow() => return broken,
            () = unread.unread() => return Ok(Ended::Unread),
        }
    } else {
        Ended::Unread
    };
    if follow {
        reader.finish().await?;
    } else {
        reader.read(false).await?;
    }
    drop(reader);
    end_of_print.finish().await?;
    Ok(end)
}

/// Reads a run's log, each line once.
struct Reader<'a> {
    connection: &'a Connection,
    run: &'a Ran,
    printer: Printer,
    /// The uid of the one whose log was read last: each try may have its own.
    of: Option<String>,
    /// What of it has not been read.
    rest: Part,
}

impl Reader<'_> {
    /// Reads on until that is refused. Who waits for the end of the run gives up where the API stays silent.
    async fn follow(&mut self) -> Result<Ended> {
        loop {
            match self.read(true).await {
                Err(failure) if failure.code != Code::Unreachable => return Err(failure),
                Ok(_) | Err(_) => sleep(LOOK).await,
            }
        }
    }

    /// Reads what is left of a run that has ended. A stream that breaks ends like any other, so the last one must have had nothing new.
    async fn finish(&mut self) -> Result {
        let mut patience = Patience::default();
        loop {
            match self.read(false).await {
                Ok(0) => return Ok(()),
                Ok(_) => patience.answered(),
                Err(failure) => patience.bear(failure).await?,
            }
        }
    }

    /// Reads on to the end of the stream; how many lines that were.
    async fn read(&mut self, follow: bool) -> Result<usize> {
        let Some(writer) = self.run.writer(self.connection).await? else { return Ok(0) };
        if self.of.is_some() && self.of != writer.uid {
            self.rest = Part::all();
        }
        self.of.clone_from(&writer.uid);
        let source = Source::new(&self.connection.client, &writer);
        let Some(mut lines) = source.open(&self.rest, follow).await? else { return Ok(0) };
        let mut count = 0;
        while let Some(line) = lines.next().await {
            let rest = self.rest.past(&line);
            // Given up before it is printed, it is read again.
            if !self.printer.print(Message::Log { id: source.id().to_owned(), at: line.at, line: line.text }).await {
                return Ok(0);
            }
            self.rest = rest;
            count += 1;
        }
        Ok(count)
    }
}
