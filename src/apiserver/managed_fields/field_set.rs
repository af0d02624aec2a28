//! Sets of fields, and their form in `fieldsV1` (structured-merge-diff's).
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::schema::node::{At, ListType};

/// One step down into an object. Keys and values are kept as JSON text, whose object keys are sorted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// `f:name`: a field, or a map's key.
    Field(String),
    /// `k:{"name":"p"}`: an item of a map list.
    Key(String),
    /// `v:"t"`: an item of a set.
    Value(String),
    /// `i:0`: an item by its place; nothing makes these any more.
    Index(String),
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let canonical = || serde_json::from_str::<Value>(rest).ok().map(|value| value.to_string());
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => canonical().map(Self::Key),
            "v" => canonical().map(Self::Value),
            "i" => Some(Self::Index(rest.to_owned())),
            _ => None,
        }
    }

    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(key) => format!("k:{key}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// As a part of a path in a conflict: `.spec`, `[name="p"]`, `[="t"]`.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Key(key) => {
                let fields: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", fields.join(","))
            }
            Self::Value(value) => format!("[={value}]"),
            Self::Index(index) => format!("[{index}]"),
        }
    }
}

/// The step to an item of a list that is no atomic one. The error says why an item cannot be told from the others.
pub(crate) fn step_to(at: At<'_>, item: &Value) -> Result<Step, String> {
    let ListType::Map(keys) = &at.node.list else { return Ok(Step::Value(item.to_string())) };
    let Some(fields) = item.as_object() else { return Err("associative list with keys may not have non-map elements".to_owned()) };
    let value_of = |key: &String| fields.get(key).cloned().or_else(|| at.items().property(key)?.node.default.clone());
    let found: Map<String, Value> = keys.iter().filter_map(|key| Some((key.clone(), value_of(key)?))).collect();
    if found.is_empty() {
        let keys: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            keys.join(" ")
        ));
    }
    Ok(Step::Key(Value::Object(found).to_string()))
}

/// A set of paths, as a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FieldSet {
    /// Whether the path to here is in the set.
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    /// The set with this one path.
    #[cfg(test)]
    pub(crate) fn of(path: &[&str]) -> Self {
        let mut set = Self::default();
        set.insert(path);
        set
    }

    /// Adds the path of these fields.
    pub(crate) fn insert(&mut self, path: &[&str]) {
        match path.split_first() {
            None => self.member = true,
            Some((first, rest)) => self.child(Step::Field((*first).to_owned())).insert(rest),
        }
    }

    pub(crate) fn child(&mut self, step: Step) -> &mut Self {
        self.children.entry(step).or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    pub(crate) fn union(mut self, other: &Self) -> Self {
        self.member |= other.member;
        for (step, child) in &other.children {
            let mine = self.children.remove(step).unwrap_or_default();
            self.children.insert(step.clone(), mine.union(child));
        }
        self
    }

    /// Without the members of the other one; what is below them stays.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combined(other, |mine, theirs| mine && !theirs)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combined(other, |mine, theirs| mine && theirs)
    }

    fn combined(&self, other: &Self, keep: impl Fn(bool, bool) -> bool + Copy) -> Self {
        let nothing = Self::default();
        let child = |(step, child): (&Step, &Self)| {
            let child = child.combined(other.children.get(step).unwrap_or(&nothing), keep);
            (!child.is_empty()).then(|| (step.clone(), child))
        };
        Self { member: keep(self.member, other.member), children: self.children.iter().filter_map(child).collect() }
    }

    /// Only what is at or below a top-level field, or only what is not.
    pub(crate) fn at_top(&self, field: &str, inside: bool) -> Self {
        let wanted = |step: &Step| matches!(step, Step::Field(name) if name == field) == inside;
        Self {
            member: self.member && !inside,
            children: self.children.iter().filter(|(step, _)| wanted(step)).map(|(step, child)| (step.clone(), child.clone())).collect(),
        }
    }

    /// With the fields that the schema names and that have members below them as members themselves.
    pub(crate) fn with_named_fields(&self, at: At<'_>) -> Self {
        let child = |(step, child): (&Step, &Self)| {
            let (below, named) = match step {
                Step::Field(name) => (at.field_or_any(name), at.property(name).is_some()),
                Step::Key(_) | Step::Value(_) | Step::Index(_) => (at.items(), false),
            };
            let mut child = child.with_named_fields(below);
            child.member |= named && !child.children.is_empty();
            (step.clone(), child)
        };
        Self { member: self.member, children: self.children.iter().map(child).collect() }
    }

    /// Reads `fieldsV1`; what it cannot read is not in the set.
    pub(crate) fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        for (key, below) in fields.as_object().into_iter().flatten() {
            if key == "." {
                set.member = true;
            } else if let Some(step) = Step::parse(key) {
                let mut child = Self::parse(below);
                child.member |= child.children.is_empty();
                set.children.insert(step, child);
            }
        }
        set
    }

    /// `fieldsV1`, in a fixed order.
    pub(crate) fn encode(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.children.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        fields.extend(self.children.iter().filter(|(_, child)| !child.is_empty()).map(|(step, child)| (step.encode(), child.encode())));
        Value::Object(fields)
    }

    /// The members' paths as conflicts show them.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths("", &mut found);
        found
    }

    fn collect_paths(&self, path: &str, found: &mut Vec<String>) {
        if self.member {
            found.push(path.to_owned());
        }
        for (step, child) in &self.children {
            child.collect_paths(&format!("{path}{}", step.shown()), found);
        }
    }
}
