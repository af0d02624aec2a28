//! `mesh logs`: what instances wrote, those of a service in one stream, in the order of time.
use std::collections::BinaryHeap;

use clap::Args;
use futures::{StreamExt, stream::BoxStream};
use jiff::{SignedDuration, Timestamp};

use super::{
    exit::Result,
    follow::{
        Follow, Which, follow,
        lines::Line,
        source::{Part, Source},
    },
    instance::{Instance, Kind},
    paint::Paint,
    printer::{Message, Printer, Style},
    select::{Found, Selected, find},
    target::Connection,
};
use mesh_api::duration::Duration;
use mesh_kit::clock;

/// Print what instances wrote.
#[derive(Debug, Args)]
pub struct Logs {
    /// A service, or the beginning of an instance's id.
    #[arg(value_name = "SERVICE|ID")]
    what: String,
    /// Go on with what is written from now; new instances of the service join.
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines of each instance.
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Only what was written in this time up to now, for example 5m.
    #[arg(long, value_name = "DURATION")]
    since: Option<Duration>,
    /// Put the time of each line before it.
    #[arg(long)]
    timestamps: bool,
}

impl Logs {
    /// Prints, or follows.
    pub async fn run(self, connection: &Connection) -> Result {
        let Found { selected, instances, .. } = find(connection, &self.what).await?;
        let style = Style { paint: Paint::detect(), names: matches!(selected, Selected::Service(_)), times: self.timestamps, lossy: false };
        let (printer, end_of_print) = Printer::start(style)?;
        let end = if self.follow {
            let (_always, ends) = tokio::sync::watch::channel(matches!(selected, Selected::Instance(_)));
            let (namespace, which, part) = (Some(connection.namespace.clone()), which(&selected), self.part());
            let what = Follow { namespace, which, part, begun: clock::now(), ends };
            follow(&connection.client, what, &printer).await
        } else {
            self.once(connection, &selected, &instances, &printer).await
        };
        drop(printer);
        end_of_print.finish().await.and(end)
    }

    fn part(&self) -> Part {
        let since = self.since.and_then(|since| SignedDuration::try_from(since.get()).ok());
        Part { tail: self.tail, since: since.and_then(|since| clock::now().checked_sub(since).ok()), ..Part::all() }
    }

    async fn once(&self, connection: &Connection, selected: &Selected, instances: &[Instance], printer: &Printer) -> Result {
        let mut open = Vec::new();
        for instance in instances.iter().filter(|instance| fits(instance, selected)) {
            let source = Source::new(&connection.client, instance);
            // On a VM one log holds all runs. In a cluster that of a container which has ended is that of its last run.
            if instance.kind == Kind::Pod && instance.backs_off() {
                printer.say(format!("{} waits for its next start; this is what its last run wrote", instance.id)).await;
            }
            let Some(mut lines) = source.open(&self.part(), false).await? else { continue };
            let first = lines.next().await;
            if let (None, Some(trouble)) = (&first, &instance.trouble) {
                printer.say(format!("{} has written nothing: {trouble}", instance.id)).await;
            }
            let lines = futures::stream::iter(first).chain(lines).boxed();
            open.push((source.id().to_owned(), lines));
        }
        merge(open, printer).await;
        Ok(())
    }
}

fn fits(instance: &Instance, selected: &Selected) -> bool {
    match selected {
        Selected::Service(name) => instance.service == *name,
        Selected::Instance(id) => instance.id == *id,
    }
}

fn which(selected: &Selected) -> Which {
    match selected {
        Selected::Service(name) => Which::Service(name.clone()),
        Selected::Instance(id) => Which::Instance(id.clone()),
    }
}

/// The next line of one instance; the one with the earliest time is the greatest, as the heap wants it.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    at: Timestamp,
    index: usize,
    line: Line,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.index).cmp(&(self.at, self.index))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Prints the lines of several instances in the order of their times; holds one line of each.
async fn merge(mut open: Vec<(String, BoxStream<'static, Line>)>, printer: &Printer) {
    let mut heap = BinaryHeap::new();
    for (index, (_, lines)) in open.iter_mut().enumerate() {
        heap.extend(next(lines, index, Timestamp::MIN).await);
    }
    while let Some(Next { at, index, line }) = heap.pop() {
        let Some((id, lines)) = open.get_mut(index) else { continue };
        if !printer.print(Message::Log { id: id.clone(), at: line.at, line: line.text }).await {
            return;
        }
        heap.extend(next(lines, index, at).await);
    }
}

/// A line without a time of its own belongs to the one before it.
async fn next(lines: &mut BoxStream<'static, Line>, index: usize, before: Timestamp) -> Option<Next> {
    lines.next().await.map(|line| Next { at: line.at.unwrap_or(before), index, line })
}
