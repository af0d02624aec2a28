//! A mapping that is read field by field: what nobody has taken is left over at the end, so that nothing is dropped without a word.
use serde_json::{Map, Value};

/// The fields of a mapping that have not been taken yet, and where it stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of a mapping; none of anything else.
    pub(super) fn new(path: impl Into<String>, value: Value) -> Self {
        let map = if let Value::Object(map) = value { map } else { Map::new() };
        Self { path: path.into(), map }
    }

    /// Where a field stands: `services.web.image`.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Takes a field; null is none.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a scalar as text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let text = scalar(self.map.get(key)?)?;
        self.map.remove(key);
        Some(text)
    }

    /// Takes a whole number.
    pub(super) fn number(&mut self, key: &str) -> Option<i64> {
        let number = number(self.map.get(key)?)?;
        self.map.remove(key);
        Some(number)
    }

    /// Takes a boolean.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let flag = match self.map.get(key)? {
            Value::Bool(flag) => *flag,
            Value::String(text) if text == "true" || text == "false" => text == "true",
            _ => return None,
        };
        self.map.remove(key);
        Some(flag)
    }

    /// Takes a mapping.
    pub(super) fn inner(&mut self, key: &str) -> Option<Self> {
        if !self.map.get(key)?.is_object() {
            return None;
        }
        let path = self.path(key);
        self.map.remove(key).map(|value| Self::new(path, value))
    }

    /// Takes a list, each entry with its path. A scalar is a list of one.
    pub(super) fn list(&mut self, key: &str) -> Vec<(String, Value)> {
        let path = self.path(key);
        match self.map.get(key) {
            None | Some(Value::Object(_)) => Vec::new(),
            Some(_) => match self.map.remove(key) {
                Some(Value::Array(list)) => {
                    list.into_iter().enumerate().map(|(index, value)| (format!("{path}[{index}]"), value)).collect()
                }
                Some(Value::Null) | None => Vec::new(),
                Some(one) => vec![(path, one)],
            },
        }
    }

    /// Takes a list of scalars as texts.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let (texts, others): (Vec<_>, Vec<_>) =
            self.list(key).into_iter().map(|(_, value)| value).partition(|value| scalar(value).is_some());
        self.keep(key, others);
        texts.iter().filter_map(scalar).collect()
    }

    /// Entries that are no text stay, so that they are told as left over.
    fn keep(&mut self, key: &str, others: Vec<Value>) {
        if !others.is_empty() {
            self.map.insert(key.to_owned(), others.into());
        }
    }

    /// Takes what may be a mapping or a list of `KEY=VALUE`: each key with its value, none where only the key stands.
    pub(super) fn pairs(&mut self, key: &str) -> Vec<(String, String, Option<String>)> {
        if let Some(inner) = self.inner(key) {
            let path = inner.path.clone();
            let (pairs, others): (Vec<_>, Vec<_>) = inner.map.into_iter().partition(|(_, value)| !value.is_object() && !value.is_array());
            if !others.is_empty() {
                self.map.insert(key.to_owned(), Value::Object(others.into_iter().collect()));
            }
            return pairs.into_iter().map(|(name, value)| (format!("{path}.{name}"), name, scalar(&value))).collect();
        }
        let pair = |(path, value): (String, Value)| {
            let text = scalar(&value)?;
            let (name, value) = text.split_once('=').map_or((text.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
            Some((path, name.to_owned(), value))
        };
        let (texts, others): (Vec<_>, Vec<_>) = self.list(key).into_iter().partition(|(_, value)| scalar(value).is_some());
        self.keep(key, others.into_iter().map(|(_, value)| value).collect());
        texts.into_iter().filter_map(pair).collect()
    }

    /// Whether the field is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// What nobody took: each key with its path and value.
    pub(super) fn left(self) -> Vec<(String, String, Value)> {
        let path = self.path;
        let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        self.map.into_iter().map(|(key, value)| (at(&key), key, value)).collect()
    }

    /// The fields themselves, where all of them are carried over as they are.
    pub(super) fn rest(self) -> Map<String, Value> {
        self.map
    }
}

/// A scalar as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, also as text.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}
