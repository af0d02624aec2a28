//! A unit file as values: keys that exist, each with a value of its class. Text comes from [`super::encode`] only, and is read by [`super::parse`].
use super::{
    encode::{self, Bad},
    keys::{Class, Key, Section, service},
    value::Value,
};

/// A value that cannot be that key's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {bad} (it would become {}= of [{}])", .key.name(), .key.section().name())]
pub struct Refused {
    /// The field of the spec that it comes from.
    pub field: String,
    /// The key.
    pub key: Key,
    /// What is wrong with it.
    pub bad: Bad,
}

/// One line: the value, and its text, which was made when the value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    text: String,
    /// Stands on a line before it, for people.
    comment: Option<&'static str>,
}

impl Entry {
    fn line(&self) -> String {
        let comment = self.comment.map(|text| format!("# {text}\n")).unwrap_or_default();
        format!("{comment}{}={}\n", self.key.name(), self.text)
    }
}

/// A unit file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    entries: Vec<Entry>,
}

impl Unit {
    /// Its lines, in the order in which they were given.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The values of a key.
    pub fn values(&self, key: Key) -> impl Iterator<Item = &Value> {
        self.entries.iter().filter(move |entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The text that counts of a key: the last one.
    pub fn last_text(&self, key: Key) -> Option<&str> {
        self.values(key).last().and_then(Value::text)
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The value cannot be written so that this key's reader gets it back, or it is not of the key's class.
    pub fn add(&mut self, key: Key, field: &str, value: impl Into<Value>) -> Result<(), Refused> {
        let value = value.into();
        let words = match (key.class(), &value) {
            (Class::Words, Value::Words(words)) => words.clone(),
            _ => Vec::new(),
        };
        self.add_read(key, field, value)?;
        self.define_odd_words(&words);
        Ok(())
    }

    /// Adds a line that was read: what its words need stands in the same text.
    pub(super) fn add_read(&mut self, key: Key, field: &str, value: Value) -> Result<(), Refused> {
        let text = encode::value(key.class(), &value).map_err(|bad| Refused { field: field.to_owned(), key, bad })?;
        self.entries.push(Entry { key, value, text, comment: None });
        Ok(())
    }

    /// Puts a comment before the line that was added last.
    pub fn comment(&mut self, text: &'static str) {
        if let Some(last) = self.entries.last_mut() {
            last.comment = Some(text);
        }
    }

    /// Gives a key one value, in place of those that it has.
    ///
    /// # Errors
    /// See [`Unit::add`].
    pub fn set(&mut self, key: Key, field: &str, value: impl Into<Value>) -> Result<(), Refused> {
        self.entries.retain(|entry| entry.key != key);
        self.add(key, field, value)
    }

    /// Words that Quadlet would lose are written as variables of the service; here they get their values.
    fn define_odd_words(&mut self, words: &[String]) {
        for odd in encode::ODD_WORDS {
            let value = Value::Text(format!("{}={}", odd.variable, odd.word));
            let defined = self.values(service::ENVIRONMENT).any(|there| *there == value);
            if words.iter().any(|word| word == odd.word) && !defined {
                let text = format!("{}={}", odd.variable, odd.word);
                self.entries.push(Entry { key: service::ENVIRONMENT, value, text, comment: None });
            }
        }
    }

    /// The unit with the lines of another after its own, as a drop-in adds them: what counts once is replaced.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let once = |key: Key| matches!(key.class(), Class::Raw | Class::Bool | Class::Setting | Class::Number);
        let replaced = |entry: &&Entry| !(once(entry.key) && other.entries.iter().any(|new| new.key == entry.key));
        let kept = self.entries.iter().filter(replaced).cloned();
        Self { entries: kept.chain(other.entries.iter().cloned()).collect() }
    }

    /// The unit with some of its lines only.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Entry) -> bool) -> Self {
        Self { entries: self.entries.iter().filter(|entry| wanted(entry)).cloned().collect() }
    }

    /// The text of the file, without a header.
    pub fn text(&self) -> String {
        let mut sections = Vec::new();
        for section in Section::ALL {
            let lines = self.entries.iter().filter(|entry| entry.key.section() == section);
            let lines: Vec<String> = lines.map(Entry::line).collect();
            if !lines.is_empty() {
                sections.push(format!("[{}]\n{}", section.name(), lines.concat()));
            }
        }
        sections.join("\n")
    }
}
