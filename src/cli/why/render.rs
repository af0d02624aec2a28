//! A report as text that fits a screen.
use jiff::Timestamp;

use super::{
    events::Told,
    report::{Detail, Report},
};
use crate::{age::age, follow::lines::CUT, paint::Paint};

/// The text for people.
pub(super) fn render(report: &Report, now: Timestamp, paint: Paint) -> String {
    let mut lines = vec![paint.bold(&plain(&report.summary))];
    lines.extend(report.reached_at.iter().map(|place| format!("  {place}")));
    for off in &report.conditions {
        let since = off.since.map(|since| format!(", for {}", age(since, now))).unwrap_or_default();
        lines.push(format!("  {} is {}{since}: {}", off.type_, off.status, said(&off.reason, &off.message)));
    }
    for instance in &report.instances {
        lines.push(String::new());
        lines.extend(detail(instance, now, paint));
    }
    if !report.others.is_empty() {
        lines.push(String::new());
    }
    for other in &report.others {
        let problem = other.problem.as_deref().map(|problem| format!(": {}", plain(problem))).unwrap_or_default();
        lines.push(format!("{} {}{problem}", other.id, other.state));
    }
    section(&mut lines, "warnings", report.events.iter().map(|told| event(told, now)).collect(), paint);
    section(&mut lines, "what to do", report.remedies.iter().map(|remedy| format!("- {remedy}")).collect(), paint);
    lines.join("\n") + "\n"
}

fn section(lines: &mut Vec<String>, title: &str, content: Vec<String>, paint: Paint) {
    if !content.is_empty() {
        lines.extend([String::new(), paint.bold(title)]);
        lines.extend(content.into_iter().map(|line| format!("  {line}")));
    }
}

fn detail(instance: &Detail, now: Timestamp, paint: Paint) -> Vec<String> {
    let since = instance.since.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
    let restarts = match instance.restarts {
        0 => String::new(),
        1 => ", started again once".to_owned(),
        count => format!(", started again {count} times"),
    };
    let node = instance.node.as_deref().map(|node| format!(", on {node}")).unwrap_or_default();
    let mut lines = vec![format!("{} {}{since}{restarts}{node}", paint.bold(&instance.id), instance.state)];
    lines.extend(instance.problem.as_deref().map(|problem| format!("  {}", plain(problem))));
    if let Some(exit) = &instance.last_exit {
        let at = exit.at.map(|at| format!(" {} ago", age(at, now))).unwrap_or_default();
        let message = exit.message.as_deref().map(|message| format!(": {}", plain(message))).unwrap_or_default();
        lines.push(format!("  its last run {}{at}{message}", exit.text));
    }
    lines.extend(instance.probes.iter().map(|told| format!("  {}", event(told, now))));
    if !instance.log.is_empty() {
        let whose = if instance.last_exit.is_some() { "the last lines of the run that failed" } else { "its last lines" };
        lines.push(format!("  {whose}:"));
        lines.extend(instance.log.iter().map(|line| format!("  | {line}")));
    }
    lines
}

fn event(told: &Told, now: Timestamp) -> String {
    let last = told.last.map(|last| format!("{} ago ", age(last, now))).unwrap_or_default();
    let count = if told.count > 1 { format!(" ({} times)", told.count) } else { String::new() };
    format!("{last}{} {}: {}{count}", told.kind, told.name, said(&told.reason, &told.message))
}

fn said(reason: &str, message: &str) -> String {
    if message.is_empty() { reason.to_owned() } else { format!("{reason}: {}", plain(message)) }
}

/// The longest message that is shown whole; Kubernetes has none that is longer, but for what a program left as its last words.
const LONGEST: usize = 1024;

/// One line that is not too long, without what would move the cursor.
fn plain(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(|word| word.chars().filter(|c| !c.is_control()).collect()).collect();
    let line = words.join(" ");
    let end = line.floor_char_boundary(LONGEST);
    if end < line.len() { format!("{}{CUT}", line.get(..end).unwrap_or_default()) } else { line }
}

#[cfg(test)]
mod tests;
