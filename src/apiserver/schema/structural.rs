//! Reads an `openAPIV3Schema` into nodes, and tells what keeps it from being structural.
use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::{
    FieldError,
    error::join,
    listing,
    node::{Arena, Bound, Checks, Id, ListType, Node, PatchStrategy, Type},
};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Where a schema stands in another one; Kubernetes words its complaints by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
    /// Within allOf, anyOf, oneOf or not: only constraints are allowed there.
    Constraint,
}

/// Builds the arena of one schema.
#[derive(Debug, Default)]
pub(super) struct Reader<'a> {
    pub(super) arena: Arena,
    pub(super) errors: Vec<FieldError>,
    /// What `$ref` may refer to: the built-in kinds' definitions.
    definitions: Option<&'a Map<String, Value>>,
    known: HashMap<&'a str, Id>,
    depth: usize,
}

const DEPTH: usize = 100;

/// Keywords that Kubernetes refuses, or whose value it cannot honour.
const FORBIDDEN: [&str; 8] =
    ["$ref", "definitions", "dependencies", "deprecated", "discriminator", "id", "patternProperties", "additionalItems"];

impl<'a> Reader<'a> {
    /// Reads a built-in kind's schema, in which definitions refer to each other.
    pub(super) fn with_definitions(definitions: &'a Map<String, Value>) -> Self {
        Self { definitions: Some(definitions), ..Self::default() }
    }

    /// Reads the root; the arena's first node is it.
    pub(super) fn read_root(&mut self, schema: &'a Value) {
        let id = self.read(schema, "", Level::Root);
        if let Some(root) = self.arena.node_mut(id) {
            root.embedded = false;
        }
    }

    fn read(&mut self, schema: &'a Value, path: &str, level: Level) -> Id {
        if let Some(id) = self.read_reference(schema) {
            return id;
        }
        let id = self.arena.reserve();
        self.depth += 1;
        if self.depth > DEPTH {
            self.errors.push(FieldError::forbidden(path, "the schema nests too deeply"));
        } else if let Value::Object(schema) = schema {
            let node = self.read_node(schema, path, level);
            self.arena.set(id, node);
        } else {
            self.arena.set(id, Node { preserve: true, ..Node::default() });
        }
        self.depth -= 1;
        id
    }

    fn read_reference(&mut self, schema: &'a Value) -> Option<Id> {
        let definitions = self.definitions?;
        let reference = schema.get("$ref").or_else(|| schema.get("allOf")?.get(0)?.get("$ref"))?.as_str()?;
        let name = reference.rsplit('/').next().unwrap_or(reference);
        if name == META {
            return Some(Id::ObjectMeta);
        }
        if let Some(id) = self.known.get(name) {
            return Some(*id);
        }
        let (name, schema) = definitions.get_key_value(name)?;
        let id = self.arena.reserve();
        self.known.insert(name, id);
        let node = match schema {
            // k8s-openapi calls any JSON an object.
            _ if name.rsplit('.').next() == Some("JSON") => Node { preserve: true, ..Node::default() },
            Value::Object(schema) => self.read_node(schema, "", Level::Field),
            _ => Node { preserve: true, ..Node::default() },
        };
        self.arena.set(id, node);
        Some(id)
    }

    fn read_node(&mut self, schema: &'a Map<String, Value>, path: &str, level: Level) -> Node {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
        let mut node = Node {
            kind: self.read_type(schema, path),
            nullable: flag("nullable"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            atomic_map: schema.get("x-kubernetes-map-type").is_some_and(|kind| kind == "atomic"),
            list: list_type_of(schema),
            default: schema.get("default").cloned(),
            patch: read_patch_strategy(schema),
            ..Node::default()
        };
        if self.definitions.is_none() {
            self.check_structural(schema, &node, path, level);
        } else if node.kind == Type::Object && !["properties", "additionalProperties"].iter().any(|key| schema.contains_key(*key)) {
            // The built-in kinds' own way to say "any object".
            node.preserve = true;
        }
        self.read_children(schema, &mut node, path, level);
        if self.definitions.is_some() {
            node.union = schema.get("oneOf").and_then(Value::as_array).and_then(|branches| self.read_reference(branches.first()?));
        }
        let checks = self.read_checks(schema, path);
        node.checks = checks.map(Box::new);
        node
    }

    fn read_type(&mut self, schema: &Map<String, Value>, path: &str) -> Type {
        if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            return Type::IntOrString;
        }
        match schema.get("type").and_then(Value::as_str) {
            None | Some("") => Type::Any,
            Some("object") => Type::Object,
            Some("array") => Type::Array,
            Some("string") => Type::String,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Boolean,
            Some(other) => {
                let known = ["array", "boolean", "integer", "number", "object", "string"].map(Value::from);
                self.errors.push(FieldError::not_supported(join(path, "type"), &Value::from(other), &known));
                Type::Any
            }
        }
    }

    fn read_children(&mut self, schema: &'a Map<String, Value>, node: &mut Node, path: &str, level: Level) {
        let below = if level == Level::Constraint { Level::Constraint } else { Level::Field };
        for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let id = if level == Level::Root && name == "metadata" && self.definitions.is_none() {
                // Implicit in every object; what the CRD says of it is checked besides.
                self.read_metadata_constraints(child, path)
            } else {
                self.read(child, &join(path, &format!("properties[{name}]")), below)
            };
            node.properties.insert(name.as_str().into(), id);
        }
        match schema.get("additionalProperties") {
            None | Some(Value::Bool(false)) => {}
            Some(additional) => node.additional = Some(self.read(additional, &join(path, "additionalProperties"), below)),
        }
        if let Some(items) = schema.get("items") {
            let below = if level == Level::Constraint { Level::Constraint } else { Level::Item };
            node.items = Some(self.read(items, &join(path, "items"), below));
        }
    }

    fn read_metadata_constraints(&mut self, schema: &'a Value, path: &str) -> Id {
        let path = join(path, "properties[metadata]");
        let names: Vec<_> = schema.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name).collect();
        if names.iter().any(|name| *name != "name" && *name != "generateName") {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            self.errors.push(FieldError::forbidden(path.clone(), why));
        }
        self.read(schema, &path, Level::Field)
    }

    fn read_checks(&mut self, schema: &'a Map<String, Value>, path: &str) -> Option<Checks> {
        let number = |name: &str| schema.get(name).and_then(Value::as_u64);
        let checks = Checks {
            required: schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(owned).collect(),
            allowed: schema.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            minimum: read_bound(schema, "minimum", "exclusiveMinimum"),
            maximum: read_bound(schema, "maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
            length: (number("minLength"), number("maxLength")),
            items: (number("minItems"), number("maxItems")),
            properties: (number("minProperties"), number("maxProperties")),
            pattern: self.read_pattern(schema, path),
            format: schema.get("format").and_then(owned),
            all_of: self.read_branches(schema, "allOf", path),
            any_of: self.read_branches(schema, "anyOf", path),
            one_of: self.read_branches(schema, "oneOf", path),
            not: schema.get("not").map(|not| self.read(not, &join(path, "not"), Level::Constraint)),
        };
        (!checks.is_empty()).then_some(checks)
    }

    fn read_branches(&mut self, schema: &'a Map<String, Value>, keyword: &str, path: &str) -> Vec<Id> {
        // The schema of schemas has unions that k8s-openapi writes as oneOf; Kubernetes only decodes them.
        if self.definitions.is_some() {
            return Vec::new();
        }
        let branches = schema.get(keyword).and_then(Value::as_array).into_iter().flatten().enumerate();
        branches.map(|(index, branch)| self.read(branch, &join(path, &format!("{keyword}[{index}]")), Level::Constraint)).collect()
    }

    fn read_pattern(&mut self, schema: &Map<String, Value>, path: &str) -> Option<Regex> {
        let pattern = schema.get("pattern")?.as_str().filter(|pattern| !pattern.is_empty())?;
        match Regex::new(pattern) {
            Ok(regex) => Some(regex),
            Err(error) => {
                let why = format!("must be a valid regular expression, but isn't: {error}");
                self.errors.push(FieldError::invalid(join(path, "pattern"), &Value::from(pattern), &why));
                None
            }
        }
    }

    fn check_structural(&mut self, schema: &Map<String, Value>, node: &Node, path: &str, level: Level) {
        let mut forbid = |keyword: &str, why: &str| self.errors.push(FieldError::forbidden(join(path, keyword), why));
        for keyword in FORBIDDEN.into_iter().filter(|keyword| schema.contains_key(*keyword)) {
            forbid(keyword, &format!("{keyword} is not supported"));
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            forbid("uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
        }
        let (has_properties, additional) = (schema.contains_key("properties"), schema.get("additionalProperties"));
        if has_properties && additional.is_some_and(|value| *value != Value::Bool(false)) {
            forbid("additionalProperties", "additionalProperties and properties are mutual exclusive");
        }
        if level == Level::Root && additional.is_some() {
            forbid("additionalProperties", "must not be used at the root");
        }
        if level == Level::Constraint {
            // Of an int-or-string, Kubernetes allows the two types to be named again.
            if schema.contains_key("type") && !matches!(node.kind, Type::Integer | Type::String) {
                forbid("type", "must be empty to be structural");
            }
            return;
        }
        self.check_type(schema, node, path, level);
        self.errors.extend(listing::check(schema, path));
    }

    fn check_type(&mut self, schema: &Map<String, Value>, node: &Node, path: &str, level: Level) {
        let place = join(path, "type");
        let given = Value::from(node.kind.name());
        if node.embedded && node.kind != Type::Object {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            let required = node.kind == Type::Any;
            self.errors.push(if required { FieldError::required(place, why) } else { FieldError::invalid(place, &given, why) });
        } else if node.kind == Type::Any && !node.preserve {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field | Level::Constraint => "must not be empty for specified object fields",
            };
            self.errors.push(FieldError::required(place, why));
        } else if level == Level::Root && !matches!(node.kind, Type::Object | Type::Any) {
            self.errors.push(FieldError::invalid(place, &given, "must be object at the root"));
        }
        if node.kind == Type::Array && !schema.contains_key("items") {
            self.errors.push(FieldError::required(join(path, "items"), "must be specified"));
        }
    }
}

impl Checks {
    fn is_empty(&self) -> bool {
        let counted = [self.length, self.items, self.properties].iter().all(|range| *range == (None, None));
        let lists = [&self.all_of, &self.any_of, &self.one_of].iter().all(|ids| ids.is_empty());
        counted
            && lists
            && self.required.is_empty()
            && self.allowed.is_empty()
            && self.minimum.is_none()
            && self.maximum.is_none()
            && self.multiple_of.is_none()
            && self.pattern.is_none()
            && self.format.is_none()
            && self.not.is_none()
    }
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn read_bound(schema: &Map<String, Value>, limit: &str, exclusive: &str) -> Option<Bound> {
    let limit = schema.get(limit)?.as_number()?.clone();
    Some(Bound { limit, exclusive: schema.get(exclusive).and_then(Value::as_bool).unwrap_or(false) })
}

/// The list type that a schema declares.
pub(super) fn list_type(schema: &Value) -> ListType {
    schema.as_object().map(list_type_of).unwrap_or_default()
}

fn list_type_of(schema: &Map<String, Value>) -> ListType {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(
            schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array).into_iter().flatten().filter_map(owned).collect(),
        ),
        _ => ListType::Atomic,
    }
}

fn read_patch_strategy(schema: &Map<String, Value>) -> Option<Box<PatchStrategy>> {
    let strategies = schema.get("x-kubernetes-patch-strategy")?.as_str()?;
    let has = |name: &str| strategies.split(',').any(|strategy| strategy == name);
    let merge_key = schema.get("x-kubernetes-patch-merge-key").and_then(owned);
    Some(Box::new(PatchStrategy { merge: has("merge"), retain_keys: has("retainKeys"), merge_key }))
}

/// The children that every object has at its root.
pub(super) fn add_type_and_metadata(arena: &mut Arena) -> Option<Id> {
    let string = arena.reserve();
    arena.set(string, Node { kind: Type::String, ..Node::default() });
    let root = arena.node_mut(Id::Local(0))?;
    for name in ["apiVersion", "kind"] {
        root.properties.entry(name.into()).or_insert(string);
    }
    root.properties.insert("metadata".into(), Id::ObjectMeta).filter(|id| *id != Id::ObjectMeta)
}
