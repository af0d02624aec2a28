//! What the verbs print.
use std::{collections::BTreeMap, path::PathBuf};

use super::{
    disk::State,
    files::{Content, Root},
    plan::{Member, Plan},
};
use mesh_backend::quadlet::names;

/// What would be made.
pub(super) fn plan(plan: &Plan, contents: bool) -> String {
    let mut lines = services(plan);
    lines.push(format!("\nfor Podman {}:", plan.host.podman));
    for file in &plan.files {
        let place = match file.root {
            Root::Quadlet => "quadlet",
            Root::Systemd => "systemd",
            Root::Data => "data",
        };
        lines.push(match &file.content {
            Content::Text(text) if contents => format!("\n==> {place}/{} <==\n{}", file.path, text.trim_end()),
            Content::Text(_) | Content::Bytes(..) => format!("  {place}/{}", file.path),
            Content::Link(target) => format!("  {place}/{} -> {target}", file.path),
        });
    }
    lines.extend(needs(plan));
    text(&lines)
}

fn text(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

/// A line per service: how many, of what, where.
fn services(plan: &Plan) -> Vec<String> {
    let mut by_service: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    for member in plan.members.iter().filter(|member| member.job.is_none()) {
        by_service.entry((&member.namespace, &member.service)).or_default().push(member);
    }
    let lines = by_service.into_iter().map(|((namespace, service), members)| {
        let ports = members.iter().filter_map(|member| member.container.port);
        let ports: Vec<String> = ports.map(|port| format!("127.0.0.1:{} → {}", port.host, port.container)).collect();
        let image = members.first().map(|member| member.container.image.as_str()).unwrap_or_default();
        let separator = if ports.is_empty() { "" } else { ", " };
        format!("{namespace}/{service}: {} × {image}{separator}{}", members.len(), ports.join(", "))
    });
    lines.chain(plan.members.iter().filter_map(task)).collect()
}

/// What a task runs, and what starts it.
fn task(member: &Member) -> Option<String> {
    let starts = match &member.job.as_ref()?.timer {
        Some(_) => format!("started by {}.timer", names::task(&member.namespace, &member.service)),
        None => format!("when asked: systemctl start {}", member.unit_name()),
    };
    Some(format!("{}/{}: a task, {}, {starts}", member.namespace, member.service, member.container.image))
}

/// What the engine must be given first, and what else there is to know.
fn needs(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    if !plan.secrets.is_empty() {
        lines.push("\nsecrets of the engine, which no file holds (`mesh quadlet install` makes them):".to_owned());
        lines.extend(plan.secrets.iter().map(|secret| format!("  podman secret create {} -    # {}", secret.name, secret.field)));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note: {note}")));
    lines
}

/// What was done.
pub(super) fn written(done: &[(State, PathBuf)], place: &str, plan: &Plan, force: bool) -> String {
    let acts = done.iter().filter_map(|(state, path)| {
        let act = match state {
            State::Same => return None,
            State::New => "created",
            State::Changed => "changed",
            State::Edited | State::Foreign => "overwritten",
            State::UnwantedEdited if !force => "no longer wanted, but edited, so left there (--force removes it):",
            State::Unwanted | State::UnwantedEdited => "removed",
        };
        Some(format!("{act} {}", path.display()))
    });
    let mut lines: Vec<String> = acts.collect();
    let same = done.iter().filter(|(state, _)| *state == State::Same).count();
    lines.push(format!("{} files for {place}, {same} of them as they were", plan.files.len()));
    lines.extend(needs(plan));
    text(&lines)
}
