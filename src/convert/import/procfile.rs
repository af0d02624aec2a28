//! Procfiles: `name: command line`. A `web` gets the requests; the others are workers.
use std::collections::BTreeMap;

use super::{
    dotenv,
    draft::{Book, Draft, Outcome, label, literal},
    input::Input,
};
use crate::{Result, lines::Lines, words};

/// What each instance has in its environment, so that it may be referred to.
const GIVEN: [&str; 5] = ["PORT", "MESH_SERVICE", "MESH_INSTANCE", "MESH_REVISION", "MESH_NAMESPACE"];

const OWN_PORT: &str = "each instance gets a port of its own in $PORT and must listen there";

/// Imports files.
pub(super) fn import(inputs: &[Input], outcome: &mut Outcome) -> Result {
    for input in inputs {
        let (input, lines) = read(input)?;
        for (name, line) in &lines {
            let mut book = Book::new(&input, 0, Some(&label(name)));
            outcome.drafts.extend(service(name, line, &mut book)?);
            book.close(outcome);
        }
    }
    Ok(())
}

/// The lines by name; each line's number is known by its name.
fn read(input: &Input) -> Result<(Input, Vec<(String, String)>)> {
    let (mut lines, mut numbers) = (Vec::new(), std::collections::HashMap::new());
    for (number, line) in (1_u64..).zip(input.text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = line.split_once(':').filter(|(name, command)| {
            !command.trim().is_empty() && !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_- .".contains(c))
        });
        let (name, command) = entry.ok_or_else(|| input.refuse(number, "a line of a Procfile is NAME: COMMAND"))?;
        if let Some(first) = numbers.insert(name.trim().to_owned(), number) {
            let text = format!("the process {} is on line {first} already: give each a name of its own", name.trim());
            return Err(input.refuse(number, &text));
        }
        lines.push((name.trim().to_owned(), command.trim().to_owned()));
    }
    let mut input = input.clone();
    input.lines = vec![Lines::of_fields(numbers)];
    Ok((input, lines))
}

fn service(name: &str, line: &str, book: &mut Book<'_>) -> Result<Option<Draft>> {
    if name == "release" {
        book.lost(name, format!("release: it runs once before a release, and services run on: run it by hand ({line})"));
        return Ok(None);
    }
    let mut draft = Draft::new(name);
    if draft.name != name {
        book.said(name, format!("the process {name} is called {} here", draft.name));
    }
    if name == "web" {
        draft.set("type", "Frontend");
        draft.set("route", "/");
    } else {
        draft.set("type", "Worker");
    }
    if let Some(text) = book.input.beside(".env")? {
        for (variable, value) in dotenv::read(&text, None).map_err(|error| error.of(".env"))? {
            if variable == "PORT" {
                book.lost(name, format!("env: PORT={value} of .env: {OWN_PORT}"));
            } else {
                draft.env(&variable, &literal(&value));
            }
        }
        book.said(name, "env: from .env, one by one: put what is secret into a Secret (spec.envFrom)");
    }
    command(name, line, &mut draft, book);
    Ok(Some(draft))
}

/// Sets command, and env and workingDir where the line says them. Also used for what other files give to a shell.
pub(super) fn command(path: &str, line: &str, draft: &mut Draft, book: &mut Book<'_>) {
    let (dir, rest) = match line.strip_prefix("cd ").and_then(|rest| rest.split_once("&&")) {
        Some((dir, rest)) if !dir.trim().contains([' ', '$', '`', '"', '\'']) => (Some(dir.trim()), rest.trim()),
        _ => (None, line),
    };
    let cut = words::split(rest);
    let mut words = cut.as_ref().map(|line| line.words.clone()).unwrap_or_default();
    let mut env = BTreeMap::new();
    while let Some(first) = words.first().filter(|_| words.len() > 1).cloned() {
        match first.split_once('=').filter(|(name, _)| is_name(name)) {
            Some((name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
            None if first == "exec" => {}
            // With options of its own it is a program like any other.
            None if first == "env" && words.get(1).is_some_and(|next| !next.starts_with('-')) => {}
            None => break,
        }
        words.remove(0);
    }
    if let Some(port) = env.remove("PORT") {
        book.lost(path, format!("command: PORT={port}: {OWN_PORT}"));
    }
    let known = |name: &String| GIVEN.contains(&name.as_str()) || has_env(draft, name);
    let needs_shell = match &cut {
        Err(what) => Some(what.clone()),
        Ok(cut) => cut.shell.clone().or_else(|| cut.variables.iter().find(|name| !known(name)).map(|name| format!("${name}"))),
    };
    if let Some(sign) = needs_shell.filter(|_| !words.is_empty() || cut.is_err()) {
        let exec = if env.is_empty() && !["&&", ";", "||", "&", "|"].contains(&sign.as_str()) && cut.is_ok() { "exec " } else { "" };
        draft.set("command", ["/bin/sh", "-c", &literal(&format!("{exec}{line}"))].map(str::to_owned).to_vec());
        book.said(
            path,
            format!("command: {sign} needs a shell, so it gets one: a vector without it is better (SIGTERM reaches the program itself)"),
        );
        return;
    }
    let names = cut.map(|cut| cut.variables).unwrap_or_default();
    for (name, value) in &env {
        draft.env(name, &as_references(value, &names));
    }
    if let Some(dir) = dir {
        draft.set("workingDir", dir);
    }
    draft.set("command", words.iter().map(|word| as_references(word, &names)).collect::<Vec<_>>());
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.starts_with(|c: char| c.is_ascii_digit())
}

fn has_env(draft: &Draft, name: &str) -> bool {
    let env = draft.spec.get("env").and_then(serde_json::Value::as_array);
    env.is_some_and(|env| env.iter().any(|variable| variable.get("name").and_then(serde_json::Value::as_str) == Some(name)))
}

/// Text with `$NAME` and `${NAME}` of these names as `$(NAME)`, which is replaced without a shell; other `$(` are kept as they are.
fn as_references(word: &str, names: &[String]) -> String {
    let mut text = literal(word);
    for name in names {
        text = text.replace(&format!("${{{name}}}"), &format!("$({name})"));
        let (mut out, mut rest) = (String::new(), text.as_str());
        while let Some((before, after)) = rest.split_once(&format!("${name}")) {
            let longer = after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            out.push_str(before);
            let reference = if longer { format!("${name}") } else { format!("$({name})") };
            out.push_str(&reference);
            rest = after;
        }
        out.push_str(rest);
        text = out;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_references() {
        let names = ["PORT".to_owned()];
        assert_eq!(as_references("0.0.0.0:$PORT", &names), "0.0.0.0:$(PORT)");
        assert_eq!(as_references("${PORT}/$PORTS/$(X)", &names), "$(PORT)/$PORTS/$$(X)");
    }
}
