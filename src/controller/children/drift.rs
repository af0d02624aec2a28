//! Where a live object differs from what was rendered. What else is in it (defaults, other managers' fields) is nobody's concern here. Pure.
use std::fmt;

use serde_json::{Map, Value, json};

use mesh_plan::quantity;

/// A field of an object, or an element of a list that is known by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Item(Map<String, Value>),
}

/// The way to a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

/// `spec.template.spec.containers[app].image`
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) if name.contains(['.', '/']) => write!(f, "[{name}]")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(key) => match key.values().next() {
                    Some(Value::String(name)) => write!(f, "[{name}]")?,
                    Some(other) => write!(f, "[{other}]")?,
                    None => f.write_str("[]")?,
                },
            }
        }
        Ok(())
    }
}

/// A field that is not as it was rendered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) path: Path,
    /// What stands there; null for nothing.
    pub(super) live: Value,
}

/// Everything that was rendered and is not so.
pub(super) fn drift(wanted: &Value, live: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(wanted, live, &Path::default(), &mut found);
    found
}

fn compare(wanted: &Value, live: &Value, path: &Path, found: &mut Vec<Difference>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (name, value) in wanted {
                compare(value, live.get(name).unwrap_or(&Value::Null), &path.with(Step::Field(name.clone())), found);
            }
        }
        (Value::Array(wanted), Value::Array(live)) => lists(wanted, live, path, found),
        (wanted, live) if same(wanted, live, path) => {}
        (_, live) => found.push(Difference { path: path.clone(), live: live.clone() }),
    }
}

fn lists(wanted: &[Value], live: &[Value], path: &Path, found: &mut Vec<Difference>) {
    let list = match path.0.last() {
        Some(Step::Field(name)) => name.as_str(),
        _ => "",
    };
    if let Some(keys) = wanted.iter().map(|item| key(list, item)).collect::<Option<Vec<_>>>().filter(|keys| !keys.is_empty()) {
        for (item, item_key) in wanted.iter().zip(keys) {
            let other = live.iter().find(|other| key(list, other).as_ref() == Some(&item_key)).unwrap_or(&Value::Null);
            compare(item, other, &path.with(Step::Item(item_key)), found);
        }
        return;
    }
    let is_same = |(wanted, live): (&Value, &Value)| {
        let mut inner = Vec::new();
        compare(wanted, live, path, &mut inner);
        inner.is_empty()
    };
    if wanted.len() != live.len() || !wanted.iter().zip(live).all(is_same) {
        found.push(Difference { path: path.clone(), live: live.into() });
    }
}

/// The key of an element, in the lists that Kubernetes merges by one.
fn key(list: &str, item: &Value) -> Option<Map<String, Value>> {
    let fields: &[&str] = match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => &["name"],
        "ports" if item.get("containerPort").is_some() => &["containerPort", "protocol"],
        "ports" => &["port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ownerReferences" => &["uid"],
        "hostAliases" => &["ip"],
        _ => return None,
    };
    let value = |field: &&str| {
        let default = (*field == "protocol").then(|| json!("TCP"));
        Some(((*field).to_owned(), item.get(field).cloned().or(default)?))
    };
    fields.iter().map(value).collect()
}

/// Whether two values mean the same: an API server leaves empty ones out, and writes quantities and numbers in its own way.
fn same(wanted: &Value, live: &Value, path: &Path) -> bool {
    if wanted == live {
        return true;
    }
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if is_empty(wanted) && is_empty(live) {
        return true;
    }
    match (text(wanted), text(live)) {
        (Some(a), Some(b)) if a == b => true,
        (Some(a), Some(b)) if is_quantity(path) => quantity::canonical(&a).is_some_and(|a| Some(a) == quantity::canonical(&b)),
        _ => false,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_quantity(path: &Path) -> bool {
    let is = |step: &Step, names: &[&str]| matches!(step, Step::Field(name) if names.contains(&name.as_str()));
    let mut last = path.0.iter().rev();
    let (field, parent) = (last.next(), last.next());
    field.is_some_and(|step| is(step, &["sizeLimit", "divisor"])) || parent.is_some_and(|step| is(step, &["limits", "requests"]))
}

#[cfg(test)]
mod tests;
