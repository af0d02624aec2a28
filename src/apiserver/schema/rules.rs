//! CEL rules (`x-kubernetes-validations`), compiled once per schema and evaluated node by node.
//!
//! The walk is ours, because it knows which old value belongs to which new one (map lists by their keys); the engine is kube-cel's.
use std::collections::BTreeMap;

use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Map, Value};

use super::{
    FieldError, Reason,
    error::join,
    node::ListType,
    validate::{correlated, place},
};

const RULES: &str = "x-kubernetes-validations";

/// The rules of a node and of those below it that have any.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Rules on the value alone.
    plain: Option<CompiledSchema>,
    /// Rules that compare with the old value.
    transition: Option<CompiledSchema>,
    properties: BTreeMap<String, Rules>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
    list: ListType,
}

/// Compiles the rules of a schema; `None` if it has none.
///
/// # Errors
/// Rules that do not compile, by their place in the schema.
pub(super) fn compile(schema: &Value, list: &dyn Fn(&Value) -> ListType) -> (Option<Rules>, Vec<FieldError>) {
    let mut errors = Vec::new();
    let rules = compile_node(schema, "", list, &mut errors);
    (rules, errors)
}

fn compile_node(schema: &Value, path: &str, list: &dyn Fn(&Value) -> ListType, errors: &mut Vec<FieldError>) -> Option<Rules> {
    let mut rules = Rules { list: list(schema), ..Rules::default() };
    let declared = schema.get(RULES).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    check_rules(declared, path, errors);
    let (transition, plain): (Vec<_>, Vec<_>) = declared.iter().cloned().partition(mentions_old);
    rules.plain = compile_rules(schema, plain, path, errors);
    rules.transition = compile_rules(schema, transition, path, errors);
    for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(child) = compile_node(child, &join(path, &format!("properties[{name}]")), list, errors) {
            rules.properties.insert(name.clone(), child);
        }
    }
    let mut child = |keyword: &str| {
        let child = schema.get(keyword).filter(|child| child.is_object())?;
        compile_node(child, &join(path, keyword), list, errors).map(Box::new)
    };
    rules.items = child("items");
    rules.additional = child("additionalProperties");
    (!rules.is_empty()).then_some(rules)
}

fn check_rules(rules: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    for (index, rule) in rules.iter().enumerate() {
        let place = |name: &str| join(path, &format!("{RULES}[{index}].{name}"));
        if rule.get("rule").and_then(Value::as_str).is_none_or(|rule| rule.trim().is_empty()) {
            errors.push(FieldError::required(place("rule"), "rule is not specified"));
        }
        let allowed = ["FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate"].map(Value::from);
        if let Some(reason) = rule.get("reason").filter(|reason| !allowed.contains(reason)) {
            errors.push(FieldError::not_supported(place("reason"), reason, &allowed));
        }
    }
}

fn mentions_old(rule: &Value) -> bool {
    rule.get("rule").and_then(Value::as_str).is_some_and(|rule| rule.contains("oldSelf"))
}

fn compile_rules(schema: &Value, rules: Vec<Value>, path: &str, errors: &mut Vec<FieldError>) -> Option<CompiledSchema> {
    if rules.is_empty() {
        return None;
    }
    let mut own = without_rules(schema);
    own.insert(RULES.to_owned(), Value::Array(rules));
    let compiled = compile_schema(&Value::Object(own));
    for error in compiled.compilation_errors() {
        let rule = Value::from(schema.get(RULES).map(Value::to_string).unwrap_or_default());
        errors.push(FieldError::invalid(join(path, RULES), &rule, &format!("compilation failed: {error}")));
    }
    Some(compiled)
}

/// The structure that values are converted by, without what would be evaluated or filled in a second time, and without the leaves that
/// are converted the same way unseen: the engine visits every node that is left.
fn without_rules(schema: &Value) -> Map<String, Value> {
    const DROPPED: [&str; 8] = [RULES, "default", "allOf", "anyOf", "oneOf", "not", "description", "pattern"];
    let children = |children: &Map<String, Value>| -> Value {
        let seen = children.iter().filter(|(_, child)| !is_plain(child));
        seen.map(|(name, child)| (name.clone(), Value::Object(without_rules(child)))).collect::<Map<_, _>>().into()
    };
    let keep = |(name, value): (&String, &Value)| match (name.as_str(), value) {
        ("properties", Value::Object(value)) => Some((name.clone(), children(value))),
        ("items", value) if is_plain(value) => None,
        ("items" | "additionalProperties", Value::Object(_)) => Some((name.clone(), Value::Object(without_rules(value)))),
        (name, _) if DROPPED.contains(&name) => None,
        _ => Some((name.clone(), value.clone())),
    };
    schema.as_object().into_iter().flatten().filter_map(keep).collect()
}

/// A scalar, or a list of such, whose value in CEL does not depend on its schema.
fn is_plain(schema: &Value) -> bool {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number" | "boolean") => true,
        Some("string") => schema.get("format").is_none(),
        Some("array") => schema.get("items").is_some_and(is_plain),
        _ => false,
    }
}

thread_local! {
    /// The engine with its functions: dear to make, and bound to its thread.
    static ENGINE: Validator = Validator::new();
}

/// One check of one object.
struct Walk<'a> {
    go_on: &'a dyn Fn() -> bool,
    /// It said no.
    stopped: bool,
    errors: &'a mut Vec<FieldError>,
}

impl Rules {
    fn is_empty(&self) -> bool {
        self.plain.is_none() && self.transition.is_none() && self.properties.is_empty() && self.items.is_none() && self.additional.is_none()
    }

    /// Evaluates everything; a rule on a value that did not change is not held against it, unless it compares old and new.
    pub(super) fn check(&self, new: &Value, old: Option<&Value>, path: &str, go_on: &dyn Fn() -> bool, errors: &mut Vec<FieldError>) {
        let mut walk = Walk { go_on, stopped: false, errors };
        ENGINE.with(|engine| self.walk(engine, new, old, path, &mut walk));
        if walk.stopped {
            // Kubernetes' words, whose budget is one of steps.
            let why = "validation failed due to running out of cost budget, no further validation rules will be run";
            errors.push(FieldError::invalid("<nil>", &Value::Null, why));
        }
    }

    fn walk(&self, engine: &Validator, new: &Value, old: Option<&Value>, path: &str, walk: &mut Walk<'_>) {
        if new.is_null() || walk.stopped {
            return;
        }
        let unchanged = old == Some(new);
        for compiled in self.plain.iter().filter(|_| !unchanged).chain(&self.transition) {
            if !(walk.go_on)() {
                walk.stopped = true;
                return;
            }
            if let Err(failures) = engine.validate_compiled(compiled, new, old) {
                let errors = &mut *walk.errors;
                errors.extend(failures.into_iter().map(|failure| told(path, &failure)));
            }
        }
        match new {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let Some(rules) = self.properties.get(name).or(self.additional.as_deref()) else { continue };
                    rules.walk(engine, field, old.and_then(|old| old.get(name)), &join(path, name), walk);
                }
            }
            Value::Array(items) => {
                for (rules, (index, item)) in self.items.iter().flat_map(|rules| items.iter().enumerate().map(move |item| (rules, item))) {
                    let old = old.and_then(|old| correlated(&self.list, old, item));
                    rules.walk(engine, item, old, &format!("{path}[{index}]"), walk);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Kubernetes leaves the value out where a rule failed.
fn told(path: &str, failure: &kube_cel::ValidationError) -> FieldError {
    let (reason, what) = match failure.reason.as_deref() {
        Some("FieldValueRequired") => (Reason::Required, "Required value"),
        Some("FieldValueForbidden") => (Reason::Forbidden, "Forbidden"),
        Some("FieldValueDuplicate") => (Reason::Duplicate, "Duplicate value"),
        _ => (Reason::Invalid, "Invalid value"),
    };
    let below = failure.field_path.trim_start_matches('.');
    let path = match below {
        "" => path.to_owned(),
        below if below.starts_with('[') => format!("{path}{below}"),
        below => join(path, below),
    };
    FieldError { reason, message: format!("{what}: {}", failure.message.trim()), field: place(&path) }
}
