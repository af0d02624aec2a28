//! A MeshService in the making, and what is said about the way from the input to it.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::input::Input;
use mesh_api::names::MAX_SERVICE_NAME;

/// Something that people must know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// `compose.yaml:12`.
    pub(super) place: String,
    /// For the order.
    pub(super) line: u64,
    /// The service it is about; the whole input if none.
    pub(super) service: Option<String>,
    /// It was not carried over; otherwise it was, with a change.
    pub(super) lost: bool,
    /// What it is, why, and what to do.
    pub(super) text: String,
}

/// A MeshService in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) labels: Map<String, Value>,
    pub(super) spec: Map<String, Value>,
}

impl Draft {
    /// One without a field; the name is made one that a MeshService may have.
    pub fn new(name: &str) -> Self {
        Self { name: label(name), ..Self::default() }
    }

    /// Sets a field of the spec.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.spec.insert(field.to_owned(), value.into());
    }

    /// Whether the spec has a field.
    pub fn has(&self, field: &str) -> bool {
        self.spec.contains_key(field)
    }

    /// Adds to a list of the spec.
    pub(super) fn push(&mut self, field: &str, value: Value) {
        if let Value::Array(list) = self.spec.entry(field.to_owned()).or_insert_with(|| json!([])) {
            list.push(value);
        }
    }

    /// Adds an environment variable; a later one of a name wins.
    pub(super) fn env(&mut self, name: &str, value: &str) {
        if let Some(Value::Array(list)) = self.spec.get_mut("env") {
            list.retain(|variable| variable.get("name").and_then(Value::as_str) != Some(name));
        }
        self.push("env", json!({ "name": name, "value": value }));
    }

    /// Its routes as hosts and paths; one path for any host is the short form.
    pub(super) fn set_routes(&mut self, routes: &[(Option<String>, String)]) {
        match routes {
            [] => {}
            [(None, path)] => self.set("route", path.clone()),
            routes => {
                let mut by_path: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                for (host, path) in routes {
                    by_path.entry(path).or_default().extend(host.as_deref());
                }
                let any = |path: &str| routes.iter().any(|(host, other)| host.is_none() && other == path);
                let all: Vec<_> = by_path
                    .into_iter()
                    .map(|(path, mut hosts)| {
                        hosts.sort_unstable();
                        hosts.dedup();
                        if hosts.is_empty() || any(path) { json!({ "path": path }) } else { json!({ "hostnames": hosts, "path": path }) }
                    })
                    .collect();
                self.set("routes", all);
            }
        }
    }

    /// A mapping of the spec, to put fields into.
    pub(super) fn inner(&mut self, field: &str) -> &mut Map<String, Value> {
        inner(&mut self.spec, field)
    }

    /// Where something of the pods' template goes for which a MeshService has no field.
    pub(super) fn pod_template(&mut self) -> &mut Map<String, Value> {
        inner(self.inner("kubernetes"), "podTemplate")
    }

    /// The object.
    pub(super) fn object(&self) -> Value {
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), self.name.clone().into());
        metadata.extend(self.namespace.clone().map(|namespace| ("namespace".to_owned(), namespace.into())));
        if !self.labels.is_empty() {
            metadata.insert("labels".to_owned(), self.labels.clone().into());
        }
        json!({ "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshService", "metadata": metadata, "spec": self.spec })
    }
}

/// A mapping in a mapping, made if it is not there.
pub(super) fn inner<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(field.to_owned()).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        // Made an object just above.
        _ => unreachable!("it was made an object"),
    }
}

/// What was made of the inputs.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The services.
    pub drafts: Vec<Draft>,
    /// Objects that are carried over as they are (ConfigMaps and Secrets).
    pub(super) objects: Vec<Value>,
    pub(super) notes: Vec<Note>,
    /// Keys that mean nothing here.
    pub(super) moot: BTreeSet<String>,
}

impl Outcome {
    /// One service that needs no word.
    pub fn of(draft: Draft) -> Self {
        Self { drafts: vec![draft], ..Self::default() }
    }

    /// Whether there is nothing to say about it.
    pub fn is_whole(&self) -> bool {
        self.notes.is_empty() && self.moot.is_empty()
    }
}

/// Writes notes about one input, and one service of it.
pub(super) struct Book<'a> {
    pub(super) input: &'a Input,
    pub(super) document: usize,
    pub(super) service: Option<String>,
    pub(super) notes: Vec<Note>,
    pub(super) moot: BTreeSet<String>,
}

impl<'a> Book<'a> {
    pub(super) fn new(input: &'a Input, document: usize, service: Option<&str>) -> Self {
        Self { input, document, service: service.map(str::to_owned), notes: Vec::new(), moot: BTreeSet::new() }
    }

    /// Something is not carried over.
    pub(super) fn lost(&mut self, path: &str, text: impl Into<String>) {
        self.add(path, true, text.into());
    }

    /// Something is carried over with a change that people must know of.
    pub(super) fn said(&mut self, path: &str, text: impl Into<String>) {
        self.add(path, false, text.into());
    }

    /// A key that means nothing here.
    pub(super) fn moot(&mut self, key: impl Into<String>) {
        self.moot.insert(key.into());
    }

    fn add(&mut self, path: &str, lost: bool, text: String) {
        let line = self.input.line(self.document, path);
        let note = Note { place: format!("{}:{line}", self.input.name), line, service: self.service.clone(), lost, text };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Takes what another book says.
    pub(super) fn take(&mut self, other: Book<'_>) {
        self.notes.extend(other.notes);
        self.moot.extend(other.moot);
    }

    /// Puts what was written into the outcome.
    pub(super) fn close(self, outcome: &mut Outcome) {
        outcome.notes.extend(self.notes);
        outcome.moot.extend(self.moot);
    }
}

/// A name that a MeshService may have, made from any name.
pub(super) fn label(name: &str) -> String {
    let mapped: String = name.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mapped = mapped.trim_matches('-');
    let begins = mapped.starts_with(|c: char| c.is_ascii_lowercase());
    let mut mapped = if begins { mapped.to_owned() } else { format!("app-{mapped}") };
    mapped.truncate(MAX_SERVICE_NAME);
    mapped.trim_matches('-').to_owned()
}

/// A literal in an argument or variable: `$(X)` would be replaced and `$$` is one dollar sign, so dollar signs that stand so are doubled.
pub(super) fn literal(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        let after = tail.trim_start_matches('$');
        let signs = tail.len() - after.len();
        let plain = signs == 1 && !after.starts_with('(');
        out.push_str(before);
        out.push_str(&"$".repeat(if plain { 1 } else { 2 * signs }));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use mesh_plan::environment::{Var, expand};

    use super::*;

    #[test]
    fn a_literal_is_the_same_once_it_has_been_expanded() {
        let vars = [Var::plain(("X".to_owned(), "expanded".to_owned()))];
        for text in ["", "a$b", "pa$$word", "$$", "$$$", "a$", "$(X)", "$$(X)", "$$$(X)", "$X$$Y$", "$ $(", "100$$(X)$"] {
            assert_eq!(expand(&literal(text), &vars).0, text, "{text}");
        }
        assert_eq!(literal("$HOST"), "$HOST");
    }
}
