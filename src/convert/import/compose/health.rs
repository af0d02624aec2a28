//! `healthcheck` of a compose service as a readiness probe.
use serde_json::{Value, json};

use super::units;
use crate::import::{
    draft::{Book, Draft},
    fields::{Fields, scalar},
};

/// Takes the healthcheck. Docker only tells its result; here it decides who gets requests, and nobody is restarted for it.
pub(super) fn healthcheck(fields: &mut Fields, draft: &mut Draft, book: &mut Book<'_>) {
    let Some(mut health) = fields.inner("healthcheck") else { return };
    let path = health.path("test");
    let test = health.take("test");
    let command = test.as_ref().and_then(command);
    if health.flag("disable") == Some(true) || test.as_ref().is_some_and(is_none) {
        return;
    }
    let Some(command) = command else {
        book.lost(
            &path,
            "healthcheck without test: the check of the image is not known here: write spec.healthPath or spec.readinessProbe",
        );
        return;
    };
    let mut probe = json!({ "exec": { "command": command } });
    let times = [
        ("interval", "periodSeconds", 30, "time above zero"),
        ("timeout", "timeoutSeconds", 30, "time above zero"),
        ("retries", "failureThreshold", 3, "whole number above zero"),
    ];
    for (key, field, default, what) in times {
        let value = match health.text(key) {
            Some(given) => {
                let whole = if key == "retries" { given.parse().ok() } else { units::seconds(&given) };
                if key != "retries" && whole.is_some_and(|whole| whole > 0 && !units::is_whole(&given)) {
                    let whole = whole.unwrap_or_default();
                    book.said(&health.path(key), format!("healthcheck.{key} {given:?} is no whole number of seconds: {field} is {whole}"));
                }
                whole.filter(|value| *value > 0).unwrap_or_else(|| {
                    book.lost(&health.path(key), format!("healthcheck.{key} {given:?} is no {what}: {default} stands in its place"));
                    default
                })
            }
            None => default,
        };
        if let Value::Object(probe) = &mut probe {
            probe.insert(field.to_owned(), value.into());
        }
    }
    draft.set("readinessProbe", probe);
    for (path, key, _) in health.left() {
        match key.as_str() {
            "start_period" | "start_interval" => book.moot(format!("healthcheck.{key} (nobody is restarted for a check that fails)")),
            _ => book.lost(&path, format!("healthcheck.{key} has no counterpart")),
        }
    }
}

fn is_none(test: &Value) -> bool {
    test.as_array().and_then(|list| list.first()).and_then(Value::as_str) == Some("NONE")
}

/// `CMD` is a vector; `CMD-SHELL` and a bare text are given to a shell by Docker too.
fn command(test: &Value) -> Option<Vec<String>> {
    let shell = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    let words: Vec<String> = match test {
        Value::String(line) => return Some(shell(line)),
        Value::Array(list) => list.iter().filter_map(scalar).collect(),
        _ => return None,
    };
    match words.split_first() {
        Some((first, rest)) if first == "CMD" && !rest.is_empty() => Some(rest.to_vec()),
        Some((first, rest)) if first == "CMD-SHELL" => Some(shell(&rest.join(" "))),
        _ => None,
    }
}
