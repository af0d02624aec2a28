//! The messages as data, read once from `messages.txt`; its head says how a line is read.
use std::{collections::HashMap, sync::LazyLock};

/// How a field holds its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Single,
    Repeated,
    Map,
}

/// What one value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Bool,
    Int,
    Double,
    Bytes,
    Time,
    MicroTime,
    IntOrString,
    Raw,
    Quantity,
    Extra,
    SchemaOrArray,
    SchemaOrBool,
    SchemaOrStrings,
    Message(&'static str),
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) kind: Kind,
    /// A pointer in Go, or without `omitempty`: zero is a value.
    pub(super) keeps_zero: bool,
}

/// All messages and the kinds that begin with them.
#[derive(Debug, Default)]
pub(super) struct Table {
    kinds: Vec<(&'static str, &'static str, &'static str)>,
    messages: HashMap<&'static str, Vec<Field>>,
}

pub(super) static TABLE: LazyLock<Table> = LazyLock::new(|| parse(include_str!("messages.txt")));

impl Table {
    pub(super) fn root(&self, api_version: &str, kind: &str) -> Option<&'static str> {
        self.kinds.iter().find(|(version, name, _)| *name == kind && (*version == "*" || *version == api_version)).map(|entry| entry.2)
    }

    pub(super) fn fields(&self, message: &str) -> &[Field] {
        self.messages.get(message).map_or(&[], Vec::as_slice)
    }
}

fn parse(text: &'static str) -> Table {
    let mut table = Table::default();
    let mut message = "";
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("kind"), Some(version), Some(kind), Some(name)) => table.kinds.push((version, kind, name)),
            (Some("message"), Some(name), None, None) => {
                message = name;
                table.messages.insert(message, Vec::new());
            }
            (Some(number), Some(name), Some(kind), None) => {
                let field = number.parse().ok().map(|number| parse_field(number, name, kind));
                table.messages.entry(message).or_default().extend(field);
            }
            // A comment.
            _ => {}
        }
    }
    table
}

fn parse_field(number: u64, name: &'static str, kind: &'static str) -> Field {
    let (kind, keeps_zero) = kind.strip_suffix('!').map_or((kind, false), |kind| (kind, true));
    let (kind, shape) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
        (Some(kind), _) => (kind, Shape::Repeated),
        (_, Some(kind)) => (kind, Shape::Map),
        (None, None) => (kind, Shape::Single),
    };
    Field { number, name, shape, kind: parse_kind(kind), keeps_zero }
}

fn parse_kind(kind: &'static str) -> Kind {
    match kind {
        "string" => Kind::String,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "time" => Kind::Time,
        "microtime" => Kind::MicroTime,
        "intorstring" => Kind::IntOrString,
        "raw" => Kind::Raw,
        "quantity" => Kind::Quantity,
        "extra" => Kind::Extra,
        "schema-or-array" => Kind::SchemaOrArray,
        "schema-or-bool" => Kind::SchemaOrBool,
        "schema-or-strings" => Kind::SchemaOrStrings,
        message => Kind::Message(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_that_a_field_names_is_in_the_table() {
        for (message, fields) in &TABLE.messages {
            for field in fields {
                if let Kind::Message(name) = field.kind {
                    assert!(TABLE.messages.contains_key(name), "{message}.{} is a {name}", field.name);
                }
            }
        }
        assert!(TABLE.kinds.iter().all(|(_, _, message)| TABLE.messages.contains_key(message)));
    }
}
