//! A schema as a tree in an arena: small, shared, and able to refer to itself (the schema of a `CustomResourceDefinition` does).
use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde_json::Value;

/// The place of a node in its arena, or the one `ObjectMeta` that all schemas share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Local(usize),
    ObjectMeta,
}

/// What JSON type a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Type {
    /// Not said: any value, and nothing is known of what is in it.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ListType {
    /// Not at all: the list is one value.
    #[default]
    Atomic,
    /// By their value.
    Set,
    /// By these fields of theirs.
    Map(Vec<String>),
}

/// What a strategic merge patch does with a list or an object instead of replacing it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<String>,
}

/// What a value must fulfil beyond its type.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    pub(crate) required: Vec<String>,
    pub(crate) allowed: Vec<Value>,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) length: (Option<u64>, Option<u64>),
    pub(crate) items: (Option<u64>, Option<u64>),
    pub(crate) properties: (Option<u64>, Option<u64>),
    pub(crate) pattern: Option<Regex>,
    pub(crate) format: Option<String>,
    pub(crate) all_of: Vec<Id>,
    pub(crate) any_of: Vec<Id>,
    pub(crate) one_of: Vec<Id>,
    pub(crate) not: Option<Id>,
}

/// One end of a range of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub(crate) limit: serde_json::Number,
    pub(crate) exclusive: bool,
}

/// One node.
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword of its own in the schema")]
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    pub(crate) kind: Type,
    pub(crate) nullable: bool,
    pub(crate) preserve: bool,
    pub(crate) embedded: bool,
    pub(crate) atomic_map: bool,
    pub(crate) properties: BTreeMap<Box<str>, Id>,
    pub(crate) additional: Option<Id>,
    pub(crate) items: Option<Id>,
    pub(crate) list: ListType,
    /// The schema of the value where it is an object, and not one of its other types.
    pub(crate) union: Option<Id>,
    pub(crate) default: Option<Value>,
    pub(crate) patch: Option<Box<PatchStrategy>>,
    pub(crate) checks: Option<Box<Checks>>,
}

/// The nodes of one schema; the first one is the root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    /// Makes room for a node whose children come first.
    pub(crate) fn reserve(&mut self) -> Id {
        self.nodes.push(Node::default());
        Id::Local(self.nodes.len() - 1)
    }

    pub(crate) fn set(&mut self, id: Id, node: Node) {
        if let Id::Local(index) = id
            && let Some(slot) = self.nodes.get_mut(index)
        {
            *slot = node;
        }
    }

    pub(crate) fn node_mut(&mut self, id: Id) -> Option<&mut Node> {
        match id {
            Id::Local(index) => self.nodes.get_mut(index),
            Id::ObjectMeta => None,
        }
    }

    pub(crate) fn root(&self) -> At<'_> {
        self.at(Id::Local(0))
    }

    pub(crate) fn at(&self, id: Id) -> At<'_> {
        match id {
            Id::Local(index) => self.nodes.get(index).map_or_else(At::any, |node| At { arena: self, node }),
            Id::ObjectMeta => super::object_meta(),
        }
    }
}

static NOWHERE: LazyLock<(Arena, Node)> = LazyLock::new(|| (Arena::default(), Node { preserve: true, ..Node::default() }));

/// A node seen from within its arena: the cursor that every walk over a schema moves along.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    arena: &'a Arena,
    pub(crate) node: &'a Node,
}

impl<'a> At<'a> {
    /// Of a value that nothing is known of: maps are granular, lists atomic.
    pub(crate) fn any() -> Self {
        At { arena: &NOWHERE.0, node: &NOWHERE.1 }
    }

    pub(crate) fn at(self, id: Id) -> At<'a> {
        self.arena.at(id)
    }

    /// A field that the schema names.
    pub(crate) fn property(self, name: &str) -> Option<At<'a>> {
        self.node.properties.get(name).map(|id| self.arena.at(*id))
    }

    /// A field that the schema names, a map's value, or anything where unknown fields are kept.
    pub(crate) fn field(self, name: &str) -> Option<At<'a>> {
        if let Some(id) = self.node.union {
            return self.arena.at(id).field(name);
        }
        self.property(name)
            .or_else(|| self.node.additional.map(|id| self.arena.at(id)))
            .or_else(|| self.embedded_field(name))
            .or_else(|| (self.node.preserve || self.node.kind == Type::Any).then(At::any))
    }

    /// What every embedded object has.
    fn embedded_field(self, name: &str) -> Option<At<'a>> {
        match name {
            "metadata" if self.node.embedded => Some(super::object_meta()),
            "apiVersion" | "kind" if self.node.embedded => Some(At::any()),
            _ => None,
        }
    }

    /// The items of a list.
    pub(crate) fn items(self) -> At<'a> {
        self.node.items.map_or_else(At::any, |id| self.arena.at(id))
    }

    /// A member by name, or anything if there is none of that name.
    pub(crate) fn field_or_any(self, name: &str) -> At<'a> {
        self.field(name).unwrap_or_else(At::any)
    }
}
