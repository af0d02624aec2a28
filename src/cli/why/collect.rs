//! Asks the API for what a report is made from. What it may not read, or does not have, is left out.
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{core::v1::Event as CoreEvent, events::v1::Event as NewEvent};
use kube::api::ListParams;

use super::{
    diagnosis::{self, Facts, Looked},
    events::{self, Told},
};
use crate::{
    exit::Result,
    follow::{
        lines::CUT,
        source::{Part, Source},
    },
    instance::{Exit, Instance, Kind, api, listed},
    paint::Paint,
    target::Connection,
};
use mesh_api::MeshService;

/// How many lines of a log are shown.
const LINES: usize = 20;
/// A longer line of a log is shown by its beginning.
const WIDEST: usize = 400;
/// Events that may not be read, or that the API does not have, are none.
const ABSENT: [u16; 2] = [403, 404];
/// How many are read to find those of the run that failed.
const READ: u64 = 500;

/// What is known of a service and these of its instances.
pub(super) async fn collect(
    connection: &Connection,
    name: &str,
    service: Option<MeshService>,
    instances: Vec<Instance>,
    now: Timestamp,
) -> Result<Facts> {
    let told = told(connection).await?;
    let mut looked = Vec::new();
    for (index, instance) in diagnosis::in_order(instances, now).into_iter().enumerate() {
        let log = if index < diagnosis::DETAILED && diagnosis::is_of_interest(&instance, now) {
            log(connection, &instance).await?
        } else {
            Vec::new()
        };
        looked.push(Looked { instance, log });
    }
    let events = told.into_iter().filter(|told| concerns(told, name, &looked)).collect();
    Ok(Facts { namespace: connection.namespace.clone(), name: name.to_owned(), service, looked, events, now })
}

/// The last lines of the run that failed: the one before, if its program runs again.
async fn log(connection: &Connection, instance: &Instance) -> Result<Vec<String>> {
    let source = Source::new(&connection.client, instance);
    let previous = instance.kind == Kind::Pod && instance.last_exit.is_some() && !instance.backs_off();
    let lines = read(&source, &Part { tail: Some(READ), previous, ..Part::all() }).await?;
    // On a VM one log holds all runs.
    let run = instance.last_exit.as_ref().filter(|_| instance.kind == Kind::MeshInstance);
    let next = instance.started.filter(|_| !instance.backs_off());
    let mut of_run: Vec<String> =
        lines.into_iter().filter(|(at, _)| run.is_none_or(|run| wrote(run, next, *at))).map(|(_, line)| line).collect();
    if of_run.is_empty() && previous {
        // The kubelet keeps one old run at most, and not for ever.
        of_run = read(&source, &Part { tail: Some(LINES as u64), ..Part::all() }).await?.into_iter().map(|(_, line)| line).collect();
    }
    Ok(of_run.split_off(of_run.len().saturating_sub(LINES)))
}

/// Whether a line of that time is of a run, and not of the next if there is one. What a program wrote as it ended may have been read a moment later.
fn wrote(run: &Exit, next: Option<Timestamp>, at: Option<Timestamp>) -> bool {
    let Some(at) = at else { return true };
    // The API's times are whole seconds: the run may have gone on for what is left of its last one.
    let end = run.at.and_then(|end| end.checked_add(SignedDuration::from_secs(1)).ok());
    run.since.is_none_or(|since| since <= at) && next.is_none_or(|next| at < end.map_or(next, |end| end.max(next)))
}

/// A log that cannot be read is no reason to say nothing at all.
async fn read(source: &Source, part: &Part) -> Result<Vec<(Option<Timestamp>, String)>> {
    let lines = match source.open(part, false).await {
        Ok(Some(lines)) => lines,
        Ok(None) => return Ok(Vec::new()),
        Err(failure) => return Ok(vec![(None, format!("(its log cannot be read: {})", failure.text()))]),
    };
    Ok(lines.map(|line| (line.at, shown(&line.text))).collect().await)
}

/// The beginning of a line, safe to print; `mesh logs` has the whole.
fn shown(line: &[u8]) -> String {
    // Sequences that set colours are taken out, and are not to take room away.
    let beginning = line.get(..8 * WIDEST).unwrap_or(line);
    let text = Paint::OFF.line(beginning);
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + CUT,
        None if beginning.len() < line.len() => text + CUT,
        None => text,
    }
}

async fn told(connection: &Connection) -> Result<Vec<Told>> {
    let namespace = Some(connection.namespace.as_str());
    let all = ListParams::default();
    let (old, new) = (api::<CoreEvent>(&connection.client, namespace), api::<NewEvent>(&connection.client, namespace));
    let (old, new) = tokio::try_join!(listed(&old, all.clone(), &ABSENT), listed(&new, all, &ABSENT))?;
    Ok(events::once(old.into_iter().map(events::core).chain(new.into_iter().map(events::new)).collect()))
}

/// Whether it is about the service, what the cluster made of it, or one of its instances.
fn concerns(told: &Told, name: &str, looked: &[Looked]) -> bool {
    match told.kind.as_str() {
        "MeshService" | "Deployment" | "Service" | "ServiceAccount" | "PodDisruptionBudget" | "HorizontalPodAutoscaler" => {
            told.name == name
        }
        // `<deployment>-<hash>`: a hash has no dash.
        "ReplicaSet" => told.name.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).is_some_and(|hash| !hash.contains('-')),
        "Pod" | "MeshInstance" => looked.iter().any(|looked| looked.instance.id == told.name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_of_the_run_that_ended_and_of_none_before_or_after() {
        let at = |time: &str| Some(format!("2026-01-01T00:00:{time}Z").parse().unwrap());
        let run = Exit { text: "ended with exit code 1".into(), since: at("10"), at: at("20"), message: None };
        for (time, expected) in [("09.9", false), ("10", true), ("15", true), ("20.9", true), ("21", false)] {
            assert_eq!(wrote(&run, at("20"), at(time)), expected, "{time}");
        }
        assert!(wrote(&run, None, at("29")), "it was not started again yet");
        assert!(wrote(&run, None, None), "a line without a time is shown");
        assert!(wrote(&Exit { since: None, ..run }, None, at("09")), "an older controller does not say when it began");
    }

    #[test]
    fn of_a_long_line_the_beginning_is_shown() {
        for (line, expected) in [
            ("short ä".to_owned(), "short ä".to_owned()),
            ("ä".repeat(400), "ä".repeat(400)),
            ("ä".repeat(401), "ä".repeat(400) + "…"),
            ("x".repeat(200_000), "x".repeat(400) + "…"),
            ("\u{1b}[1m".repeat(10_000), "…".to_owned()),
        ] {
            assert_eq!(shown(line.as_bytes()), expected);
        }
    }
}
