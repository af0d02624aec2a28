//! Types and constraints, in the order and the words of kube-openapi's validator.
use serde_json::{Map, Number, Value};

use super::{
    FieldError, Reason,
    error::join,
    format,
    node::{At, Bound, Checks, Id, ListType, Type},
};

/// Collects what is wrong with a value. What equals its old value is not looked at (ratcheting).
pub(super) fn check(at: At<'_>, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if old == Some(value) || (value.is_null() && at.node.nullable) {
        return;
    }
    if !fits_type(at.node.kind, value) {
        errors.push(wrong_type(path, at.node.kind.name(), type_name(value)));
        return;
    }
    if let Some(checks) = at.node.checks.as_deref() {
        check_branches(at, checks, value, path, errors);
        check_scalar(checks, value, path, errors);
    }
    match value {
        Value::Array(items) => check_items(at, items, old, path, errors),
        Value::Object(fields) => check_fields(at, fields, old, path, errors),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fits_type(kind: Type, value: &Value) -> bool {
    match kind {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_integer(value),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_string() || is_integer(value),
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(path: &str, wanted: &str, given: &str) -> FieldError {
    let given = Value::from(given);
    FieldError::type_invalid(place(path), &given, &format!("{path} in body must be of type {wanted}: {given}"))
}

/// The root has no path; Kubernetes prints that as Go's nil.
pub(super) fn place(path: &str) -> String {
    if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() }
}

fn invalid(path: &str, value: &Value, why: &str) -> FieldError {
    FieldError::invalid(place(path), value, &format!("{path} in body {why}"))
}

fn check_scalar(checks: &Checks, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) => check_text(checks, text, path, errors),
        Value::Number(number) => check_number(checks, number, path, errors),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
    }
    if !checks.allowed.is_empty() && !checks.allowed.contains(value) {
        errors.push(FieldError::not_supported(place(path), value, &checks.allowed));
    }
}

fn check_text(checks: &Checks, text: &str, path: &str, errors: &mut Vec<FieldError>) {
    let value = Value::from(text);
    let length = text.chars().count() as u64;
    match checks.length {
        (_, Some(limit)) if length > limit => errors.push(FieldError::too_long(place(path), limit)),
        (Some(limit), _) if length < limit => errors.push(invalid(path, &value, &format!("should be at least {limit} chars long"))),
        _ => {}
    }
    if let Some(pattern) = checks.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        errors.push(invalid(path, &value, &format!("should match '{pattern}'")));
    }
    if let Some(format) = checks.format.as_deref().filter(|format| !format::fits(format, text)) {
        errors.push(FieldError::type_invalid(place(path), &value, &format!("{path} in body must be of type {format}: {value}")));
    }
}

fn check_number(checks: &Checks, number: &Number, path: &str, errors: &mut Vec<FieldError>) {
    let value = Value::Number(number.clone());
    let float = number.as_f64().unwrap_or_default();
    if let Some(format) = checks.format.as_deref().filter(|format| !format::holds(format, number)) {
        errors.push(invalid(path, &value, &format!("must be of type {format}")));
    }
    if let Some(step) = checks.multiple_of.filter(|step| *step > 0.0 && (float / step).fract() != 0.0) {
        errors.push(invalid(path, &value, &format!("should be a multiple of {step}")));
    }
    let beyond = |bound: &Bound, order: std::cmp::Ordering| {
        let found = compare(number, &bound.limit);
        found == order || (bound.exclusive && found.is_eq())
    };
    if let Some(bound) = checks.maximum.as_ref().filter(|bound| beyond(bound, std::cmp::Ordering::Greater)) {
        let or_equal = if bound.exclusive { "" } else { "or equal to " };
        errors.push(invalid(path, &value, &format!("should be less than {or_equal}{}", plain(&bound.limit))));
    }
    if let Some(bound) = checks.minimum.as_ref().filter(|bound| beyond(bound, std::cmp::Ordering::Less)) {
        let or_equal = if bound.exclusive { "" } else { "or equal to " };
        errors.push(invalid(path, &value, &format!("should be greater than {or_equal}{}", plain(&bound.limit))));
    }
}

/// Exact for integers, which a float would round.
fn compare(left: &Number, right: &Number) -> std::cmp::Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// `100`, also where the schema says `100.0`.
fn plain(number: &Number) -> String {
    number.as_f64().filter(|_| number.is_f64()).map_or_else(|| number.to_string(), |float| float.to_string())
}

fn check_items(at: At<'_>, items: &[Value], old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in items.iter().enumerate() {
        let old = old.and_then(|old| correlated(&at.node.list, old, item));
        check(at.items(), item, old, &format!("{path}[{index}]"), errors);
    }
    let Some(checks) = at.node.checks.as_deref() else { return };
    let value = || Value::Array(items.to_vec());
    match checks.items {
        (Some(limit), _) if (items.len() as u64) < limit => {
            errors.push(invalid(path, &value(), &format!("should have at least {limit} items")));
        }
        (_, Some(limit)) if items.len() as u64 > limit => errors.push(FieldError::too_many(place(path), items.len(), limit)),
        _ => {}
    }
}

/// The old item that is the same one: by its keys, by its value, or, in an atomic list, none.
pub(super) fn correlated<'a>(list: &ListType, old: &'a Value, item: &Value) -> Option<&'a Value> {
    let old = old.as_array()?;
    match list {
        ListType::Atomic => None,
        ListType::Set => old.iter().find(|old| *old == item),
        ListType::Map(keys) => old.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key))),
    }
}

fn check_fields(at: At<'_>, fields: &Map<String, Value>, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(checks) = at.node.checks.as_deref() {
        match checks.properties {
            (Some(limit), _) if (fields.len() as u64) < limit => {
                errors.push(invalid(path, &Value::Object(fields.clone()), &format!("should have at least {limit} properties")));
            }
            (_, Some(limit)) if fields.len() as u64 > limit => errors.push(FieldError::too_many(place(path), fields.len(), limit)),
            _ => {}
        }
    }
    for (name, field) in fields {
        if let Some(at) = at.field(name) {
            check(at, field, old.and_then(|old| old.get(name)), &join(path, name), errors);
        }
    }
    let required = at.node.checks.as_deref().map_or(&[][..], |checks| &checks.required);
    errors.extend(required.iter().filter(|name| !fields.contains_key(*name)).map(|name| FieldError::required(join(path, name), "")));
}

/// What each branch of a logical keyword has against the value.
type Verdicts = Vec<Vec<FieldError>>;

fn check_branches(at: At<'_>, checks: &Checks, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let verdict = |id: &Id| {
        let mut errors = Vec::new();
        check(at.at(*id), value, None, path, &mut errors);
        errors
    };
    let verdicts = |ids: &[Id]| -> Verdicts { ids.iter().map(verdict).collect() };
    if !checks.any_of.is_empty() {
        errors.extend(any_of(verdicts(&checks.any_of), path));
    }
    if !checks.one_of.is_empty() {
        errors.extend(one_of(verdicts(&checks.one_of), path));
    }
    errors.extend(all_of(verdicts(&checks.all_of), path));
    if checks.not.is_some_and(|id| verdict(&id).is_empty()) {
        errors.push(composite(path, "must not validate the schema (not)"));
    }
}

/// Kubernetes gives these errors no field.
fn composite(path: &str, text: &str) -> FieldError {
    FieldError { reason: Reason::Invalid, message: format!("Invalid value: \"\": \"{path}\" {text}"), field: "<nil>".to_owned() }
}

fn passed(verdicts: &Verdicts) -> usize {
    verdicts.iter().filter(|errors| errors.is_empty()).count()
}

/// The errors of the branch that comes closest.
fn closest(verdicts: Verdicts) -> Vec<FieldError> {
    verdicts.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn any_of(verdicts: Verdicts, path: &str) -> Vec<FieldError> {
    match passed(&verdicts) {
        0 => std::iter::once(composite(path, "must validate at least one schema (anyOf)")).chain(closest(verdicts)).collect(),
        _ => Vec::new(),
    }
}

fn one_of(verdicts: Verdicts, path: &str) -> Vec<FieldError> {
    let text = "must validate one and only one schema (oneOf).";
    match passed(&verdicts) {
        0 => std::iter::once(composite(path, &format!("{text} Found none valid"))).chain(closest(verdicts)).collect(),
        1 => Vec::new(),
        several => vec![composite(path, &format!("{text} Found {several} valid alternatives"))],
    }
}

fn all_of(verdicts: Verdicts, path: &str) -> Vec<FieldError> {
    let (passed, all) = (passed(&verdicts), verdicts.len());
    if passed == all {
        return Vec::new();
    }
    let none = if passed == 0 { ". None validated" } else { "" };
    let text = composite(path, &format!("must validate all the schemas (allOf){none}"));
    verdicts.into_iter().flatten().chain([text]).collect()
}
