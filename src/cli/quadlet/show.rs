//! What the verbs print.
use std::{collections::BTreeMap, path::PathBuf};

use super::{
    disk::State,
    files::{Content, Root},
    plan::Plan,
};

/// What would be made.
pub(super) fn plan(plan: &Plan, contents: bool) -> String {
    let mut out = services(plan);
    out += &format!("\nfor Podman {}:\n", plan.host.podman);
    for file in &plan.files {
        let place = match file.root {
            Root::Quadlet => "quadlet",
            Root::Systemd => "systemd",
            Root::Data => "data",
        };
        match &file.content {
            Content::Text(text) if contents => out += &format!("\n==> {place}/{} <==\n{text}", file.path),
            Content::Text(_) | Content::Bytes(..) => out += &format!("  {place}/{}\n", file.path),
            Content::Link(target) => out += &format!("  {place}/{} -> {target}\n", file.path),
        }
    }
    out + &needs(plan)
}

/// A line per service: how many, of what, where.
fn services(plan: &Plan) -> String {
    let mut by_service: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    for member in &plan.members {
        by_service.entry((&member.namespace, &member.service)).or_default().push(member);
    }
    let mut out = String::new();
    for ((namespace, service), members) in by_service {
        let ports: Vec<String> = members
            .iter()
            .filter_map(|member| member.container.port)
            .map(|port| format!("127.0.0.1:{} → {}", port.host, port.container))
            .collect();
        let image = members.first().map(|member| member.container.image.as_str()).unwrap_or_default();
        out += &format!("{namespace}/{service}: {} × {image}", members.len());
        out += &if ports.is_empty() { "\n".to_owned() } else { format!(", {}\n", ports.join(", ")) };
    }
    out
}

/// What the engine must be given first, and what else there is to know.
fn needs(plan: &Plan) -> String {
    let mut out = String::new();
    if !plan.secrets.is_empty() {
        out += "\nsecrets of the engine, which no file holds (`mesh quadlet install` makes them):\n";
        out += &plan
            .secrets
            .iter()
            .map(|secret| format!("  podman secret create {} -    # {}\n", secret.name, secret.field))
            .collect::<String>();
    }
    out + &plan.notes.iter().map(|note| format!("note: {note}\n")).collect::<String>()
}

/// What was done.
pub(super) fn written(done: &[(State, PathBuf)], place: &str, plan: &Plan) -> String {
    let mut out = String::new();
    let mut same = 0;
    for (state, path) in done {
        let act = match state {
            State::Same => {
                same += 1;
                continue;
            }
            State::New => "created",
            State::Changed => "changed",
            State::Edited | State::Foreign => "overwritten",
            State::Unwanted => "removed",
            State::UnwantedEdited => "no longer wanted, but edited: left there or, with --force, removed:",
        };
        out += &format!("{act} {}\n", path.display());
    }
    let total = plan.files.len();
    out += &format!("{total} files for {place}, {same} of them as they were\n");
    out + &needs(plan)
}
