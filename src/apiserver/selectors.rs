//! Label and field selectors: parsed once, then asked of each object.
use serde_json::Value;

use crate::{query::Query, registry::Resource, status::ApiError};
use mesh_store::Entry;

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

/// One requirement on one field: the pointer, the value, and whether they must be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    at: Place,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Name,
    Namespace,
    Pointer(String),
}

/// What a list, a watch or a deletion of a collection is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

impl Selector {
    /// The `labelSelector` and `fieldSelector` of a query.
    pub(crate) fn parse(query: &Query, resource: &Resource) -> Result<Self, ApiError> {
        let labels = query.get("labelSelector").map(parse_labels).transpose()?.unwrap_or_default();
        let fields = query.get("fieldSelector").map(|text| parse_fields(text, resource)).transpose()?.unwrap_or_default();
        Ok(Self { labels, fields })
    }

    /// One object by its name, as a watch on it is.
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        self.fields.push(Field { at: Place::Name, value: name.to_owned(), equal: true });
        self
    }

    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(entry)) && self.fields_match(entry)
    }

    fn fields_match(&self, entry: &Entry) -> bool {
        let mut parsed: Option<Value> = None;
        self.fields.iter().all(|Field { at, value, equal }| {
            let is = match at {
                Place::Name => *entry.key.name == **value,
                Place::Namespace => *entry.key.namespace == **value,
                Place::Pointer(pointer) => shown(parsed.get_or_insert_with(|| entry.value()).pointer(pointer)) == *value,
            };
            is == *equal
        })
    }
}

/// A field's value as a selector compares it: absent is empty.
fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

impl Requirement {
    fn matches(&self, entry: &Entry) -> bool {
        let number = |label: &str| entry.label(label).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(label, values) => entry.label(label).is_some_and(|value| values.iter().any(|other| other == value)),
            Self::NotIn(label, values) => entry.label(label).is_none_or(|value| values.iter().all(|other| other != value)),
            Self::Exists(label) => entry.label(label).is_some(),
            Self::Missing(label) => entry.label(label).is_none(),
            Self::Greater(label, bound) => number(label).is_some_and(|value| value > *bound),
            Self::Less(label, bound) => number(label).is_some_and(|value| value < *bound),
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, ApiError> {
    split_outside_parentheses(text).into_iter().map(str::trim).filter(|part| !part.is_empty()).map(parse_label).collect()
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn parse_label(text: &str) -> Result<Requirement, ApiError> {
    let bad = || ApiError::bad_request(format!("unable to parse requirement: {text:?} is no valid label selector"));
    let label = |label: &str| {
        let label = label.trim();
        let valid = !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if valid { Ok(label.to_owned()) } else { Err(bad()) }
    };
    if let Some((name, value)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(label(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(label(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = text.split_once('>') {
        return Ok(Requirement::Greater(label(name)?, value.trim().parse().map_err(|_| bad())?));
    }
    if let Some((name, value)) = text.split_once('<') {
        return Ok(Requirement::Less(label(name)?, value.trim().parse().map_err(|_| bad())?));
    }
    if let Some(set) = text.strip_suffix(')') {
        let (head, values) = set.split_once('(').ok_or_else(bad)?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [name, "in"] => Ok(Requirement::In(label(name)?, values)),
            [name, "notin"] => Ok(Requirement::NotIn(label(name)?, values)),
            _ => Err(bad()),
        };
    }
    match text.strip_prefix('!') {
        Some(name) => Ok(Requirement::Missing(label(name)?)),
        None => Ok(Requirement::Exists(label(text)?)),
    }
}

fn parse_fields(text: &str, resource: &Resource) -> Result<Vec<Field>, ApiError> {
    text.split(',').filter(|part| !part.is_empty()).map(|part| parse_field(part, text, resource)).collect()
}

fn parse_field(part: &str, whole: &str, resource: &Resource) -> Result<Field, ApiError> {
    let bad = || ApiError::bad_request(format!("invalid selector: '{whole}'; can't understand '{part}'"));
    let (name, value, equal) = match (part.split_once("!="), part.split_once("==").or_else(|| part.split_once('='))) {
        (Some((name, value)), _) => (name, value, false),
        (None, Some((name, value))) => (name, value, true),
        (None, None) => return Err(bad()),
    };
    let at = match name {
        "metadata.name" => Place::Name,
        "metadata.namespace" => Place::Namespace,
        _ => {
            let known = resource.selectable.iter().find(|(label, _)| label == name);
            Place::Pointer(known.map(|(_, pointer)| pointer.clone()).ok_or_else(|| unknown_field(name, resource))?)
        }
    };
    Ok(Field { at, value: value.to_owned(), equal })
}

fn unknown_field(name: &str, resource: &Resource) -> ApiError {
    if resource.is_custom() || !resource.selectable.is_empty() {
        return ApiError::bad_request(format!("field label not supported: {name}"));
    }
    ApiError::bad_request(format!("{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""))
}
