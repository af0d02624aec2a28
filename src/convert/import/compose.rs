//! Compose files (the Compose Specification, and what of its older versions still stands in files) as MeshServices.
mod deploy;
mod health;
mod merge;
mod service;
mod tags;
mod traefik;
mod units;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    dotenv,
    draft::{Book, Outcome, label},
    fields::{Fields, scalar},
    input::Input,
    interpolate::interpolate,
    setting::Setting,
};
use crate::Result;

/// What the whole file says to its services.
pub(super) struct Top {
    /// The project's name.
    project: String,
    /// Each secret's file.
    secrets: BTreeMap<String, String>,
    /// The volumes that have a name of their own, which is the engine's: where the data are.
    volumes: BTreeMap<String, String>,
    /// The environment, and `.env`.
    variables: BTreeMap<String, String>,
    /// How deep `extends` went; a ring ends there.
    services: Map<String, Value>,
}

/// Imports files; the later ones are laid over the first, as `docker compose -f … -f …` does.
pub(super) fn import(mut inputs: Vec<Input>, setting: &Setting, outcome: &mut Outcome) -> Result {
    let Some(mut main) = inputs.first().cloned() else { return Ok(()) };
    let variables = variables(&main, setting)?;
    let mut whole = Value::Object(Map::new());
    for input in &mut inputs {
        read(input, &variables, &mut whole, outcome)?;
    }
    // Lines are told of the first file, and of the last for what only it has.
    main.lines = inputs.first().map(|input| input.lines.clone()).unwrap_or_default();
    let mut top_fields = Fields::new("", whole);
    let mut book = Book::new(&main, 0, None);
    let services = top_fields.inner("services").map(Fields::rest).unwrap_or_default();
    let project = top_fields.text("name").or_else(|| main.dir.file_name().map(|name| name.to_string_lossy().into_owned()));
    let secrets = files(&mut top_fields, "secrets");
    let volumes = names(&top_fields, "volumes");
    let top = Top { project: label(&project.unwrap_or_default()), secrets, volumes, variables, services };
    rest(top_fields, &mut book);
    book.close(outcome);
    let mut names: Vec<String> = top.services.keys().cloned().collect();
    names.sort_by_key(|name| (main.line(0, &format!("services.{name}")), name.clone()));
    for name in names {
        let mut book = Book::new(&main, 0, Some(&label(&name)));
        let value = extended(&name, &top, &mut book, 0)?;
        let drafts = service::service(&name, value, &top, setting, &mut book)?;
        outcome.drafts.extend(drafts);
        book.close(outcome);
    }
    Ok(())
}

/// `.env` beside the file, under what is in the environment.
fn variables(input: &Input, setting: &Setting) -> Result<BTreeMap<String, String>> {
    let text = input.beside(".env")?.unwrap_or_default();
    let read = dotenv::read(&text, Some(&setting.environment));
    let mut variables: BTreeMap<String, String> = read.map_err(|error| error.of(".env"))?.into_iter().collect();
    variables.extend(setting.environment.clone());
    Ok(variables)
}

/// Lays what a file says over what those before it say.
fn read(input: &mut Input, variables: &BTreeMap<String, String>, whole: &mut Value, outcome: &mut Outcome) -> Result {
    let documents = input.documents_of_compose()?;
    let tagged = tags::tagged(&input.text);
    for (index, mut value) in documents.into_iter().enumerate() {
        if !value.is_object() {
            return Err(input.refuse(input.line(index, ""), "a compose file is a mapping with services: in it"));
        }
        let mut unset = BTreeSet::new();
        interpolate(&mut value, variables, &mut unset).map_err(|text| {
            // The nearest line that has the text.
            let needle = text.split('"').nth(1).unwrap_or_default().to_owned();
            let line = input.text.lines().position(|line| line.contains(&needle)).map_or(1, |at| at as u64 + 1);
            input.refuse(line, &text)
        })?;
        for name in unset {
            let line = input.text.lines().position(|line| line.contains(&format!("${name}")) || line.contains(&format!("${{{name}")));
            let line = line.map_or(1, |at| at as u64 + 1);
            let text = format!("the variable {name} is not set: nothing stands in its place; set it and import again, or fill it in");
            outcome.notes.push(super::draft::Note { place: format!("{}:{line}", input.name), line, service: None, lost: true, text });
        }
        tags::act(&tagged, index, whole, &mut value);
        merge::merge(whole, value);
    }
    Ok(())
}

fn files(top: &mut Fields, key: &str) -> BTreeMap<String, String> {
    let entries = top.inner(key).map(Fields::rest).unwrap_or_default();
    let file = |value: &Value| value.get("file").and_then(scalar);
    entries.into_iter().filter_map(|(name, value)| Some((name, file(&value)?))).collect()
}

/// The names that entries have in the engine: `name`, or the older `external: {name}`.
fn names(top: &Fields, key: &str) -> BTreeMap<String, String> {
    let entries = top.clone().inner(key).map(Fields::rest).unwrap_or_default();
    let name = |value: &Value| value.get("name").or_else(|| value.pointer("/external/name")).and_then(scalar);
    entries.into_iter().filter_map(|(key, value)| Some((key, name(&value)?))).collect()
}

/// What stands beside `services`.
fn rest(top: Fields, book: &mut Book<'_>) {
    for (path, key, value) in top.left() {
        match key.as_str() {
            "version" => book.moot("version"),
            "networks" => {
                book.moot("networks (the services of one app.kubernetes.io/part-of share one and find each other by name)");
                let custom = value.as_object().into_iter().flatten().filter(|(_, network)| {
                    network
                        .as_object()
                        .is_some_and(|network| network.keys().any(|key| !matches!(key.as_str(), "name" | "driver" | "external")))
                });
                for (name, _) in custom {
                    book.lost(&format!("{path}.{name}"), format!("networks: the settings of {name} have no counterpart"));
                }
            }
            "volumes" => {
                let custom = value.as_object().into_iter().flatten().filter(|(_, volume)| {
                    volume
                        .as_object()
                        .is_some_and(|volume| volume.keys().any(|key| !matches!(key.as_str(), "name" | "external" | "labels")))
                });
                for (name, _) in custom {
                    book.lost(
                        &format!("{path}.{name}"),
                        format!("volumes: driver and options of {name}: make the volume (or claim) of that name yourself if they matter"),
                    );
                }
            }
            "configs" => {}
            "include" => book.lost(&path, "include: import the included files by name, together with this one"),
            key if key.starts_with("x-") => book.moot(format!("{key} (what refers to it is filled in)")),
            _ => book.lost(&path, format!("{key} has no counterpart")),
        }
    }
}

/// The service with what it extends below it.
fn extended(name: &str, top: &Top, book: &mut Book<'_>, depth: u8) -> Result<Value> {
    let value = top.services.get(name).cloned().unwrap_or_default();
    extend(name, value, top, book, depth)
}

fn extend(name: &str, mut value: Value, top: &Top, book: &mut Book<'_>, depth: u8) -> Result<Value> {
    let path = format!("services.{name}.extends");
    let Some(extends) = value.as_object_mut().and_then(|map| map.remove("extends")) else { return Ok(value) };
    if depth > 8 {
        return Err(book.input.refuse(book.input.line(0, &path), &format!("{name} extends itself")));
    }
    let mut fields = Fields::new(path.clone(), extends.clone());
    let Some(of) = scalar(&extends).or_else(|| fields.text("service")) else { return Ok(value) };
    let mut base = match fields.text("file") {
        None if top.services.contains_key(&of) => extended(&of, top, book, depth + 1)?,
        None => return Err(book.input.refuse(book.input.line(0, &path), &format!("{name} extends {of}, which is not in this file"))),
        Some(file) => {
            let at = book.input.absolute(&file);
            let text = std::fs::read_to_string(&at)
                .map_err(|error| book.input.refuse(book.input.line(0, &path), &format!("{name} extends {of} of {file}: {error}")))?;
            let dir = std::path::Path::new(&at).parent().map(std::path::Path::to_owned).unwrap_or_default();
            let mut other = Input::new(&file, &dir, text);
            let mut outcome = Outcome::default();
            let mut whole = Value::Object(Map::new());
            read(&mut other, &top.variables, &mut whole, &mut outcome)?;
            let mut whole = Fields::new("", whole);
            book.notes.extend(outcome.notes);
            let services = whole.inner("services").map(Fields::rest).unwrap_or_default();
            let Some(base) = services.get(&of).cloned() else {
                return Err(book.input.refuse(book.input.line(0, &path), &format!("{file} has no service {of}")));
            };
            let there = Top {
                project: top.project.clone(),
                secrets: top.secrets.clone(),
                volumes: top.volumes.clone(),
                variables: top.variables.clone(),
                services,
            };
            extend(&of, base, &there, book, depth + 1)?
        }
    };
    // What a service depends on is not inherited.
    if let Some(base) = base.as_object_mut() {
        base.retain(|key, _| !matches!(key.as_str(), "depends_on" | "links" | "volumes_from"));
    }
    merge::merge(&mut base, value);
    Ok(base)
}
