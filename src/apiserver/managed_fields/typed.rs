//! Values seen through their schema: which fields they have, how two of them differ, and what is left without some fields.
//!
//! Where the schema knows nothing, maps are granular and lists atomic, as Kubernetes deduces them.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::field_set::{FieldSet, Step, step_to};
use crate::schema::node::{At, ListType};

/// Whether a value is merged field by field or item by item; otherwise it is one leaf.
pub(crate) fn is_granular(at: At<'_>, value: &Value) -> bool {
    match value {
        Value::Object(_) => !at.node.atomic_map,
        Value::Array(_) => at.node.list != ListType::Atomic,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The items of a list by their steps, in order; `None` for one that stands there twice. What cannot be told apart is left out.
pub(crate) fn items_by_step<'a>(at: At<'_>, items: &'a [Value]) -> (Vec<Step>, BTreeMap<Step, Option<&'a Value>>) {
    let (mut order, mut found) = (Vec::new(), BTreeMap::new());
    for item in items {
        let Ok(step) = step_to(at, item) else { continue };
        if found.insert(step.clone(), Some(item)).is_some() {
            found.insert(step, None);
        } else {
            order.push(step);
        }
    }
    (order, found)
}

/// The fields that an applied value has.
pub(crate) fn fields_of(at: At<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    collect(at, value, &mut set);
    set
}

fn collect(at: At<'_>, value: &Value, set: &mut FieldSet) {
    match value {
        Value::Object(fields) if is_granular(at, value) => {
            for (name, field) in fields {
                let child = set.child(Step::Field(name.clone()));
                collect(at.field_or_any(name), field, child);
                let empty = field.is_null() || field.as_object().is_some_and(Map::is_empty);
                child.member |= empty || at.property(name).is_none();
            }
        }
        Value::Array(items) if is_granular(at, value) => {
            for (step, item) in items_by_step(at, items).1 {
                let child = set.child(step);
                if let Some(item) = item {
                    collect(at.items(), item, child);
                }
                child.member = true;
            }
        }
        _ => set.member = true,
    }
}

/// How a new value differs from an old one.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Added or with another value.
    pub(crate) changed: FieldSet,
    pub(crate) removed: FieldSet,
}

/// Compares two values; either may be missing.
pub(crate) fn compare(at: At<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let mut difference = Difference::default();
    compare_into(at, old, new, &mut difference);
    let nothing = FieldSet::default();
    Difference { changed: difference.changed.difference(&nothing), removed: difference.removed.difference(&nothing) }
}

impl Difference {
    fn child(&mut self, step: &Step, compare: impl FnOnce(&mut Self)) {
        let mut child = Self::default();
        compare(&mut child);
        if child.changed != FieldSet::default() {
            self.changed.children.insert(step.clone(), child.changed);
        }
        if child.removed != FieldSet::default() {
            self.removed.children.insert(step.clone(), child.removed);
        }
    }

    fn mark(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (Some(_), None) => self.removed.member = true,
            (None, None) => {}
            (_, Some(_)) => self.changed.member = true,
        }
    }
}

fn compare_into(at: At<'_>, old: Option<&Value>, new: Option<&Value>, difference: &mut Difference) {
    if old == new {
        return;
    }
    let (before, after) = (is_container(at, old), is_container(at, new));
    if !before && !after {
        return difference.mark(old, new);
    }
    let names: BTreeSet<&String> = fields(old).chain(fields(new)).collect();
    for name in names {
        difference.child(&Step::Field(name.clone()), |child| {
            compare_into(at.field_or_any(name), get(old, name), get(new, name), child);
        });
    }
    compare_items(at, items(old), items(new), difference);
    // A container that was emptied lost its parts only; one that became something else changed as such.
    let became_other = before != after && !is_hollow(if before { new } else { old });
    if became_other || old.is_none() || new.is_none() {
        difference.mark(old, new);
    }
}

fn compare_items(at: At<'_>, old: &[Value], new: &[Value], difference: &mut Difference) {
    if old.is_empty() && new.is_empty() {
        return;
    }
    let (before, after) = (items_by_step(at, old).1, items_by_step(at, new).1);
    for step in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        difference.child(step, |child| match (before.get(step), after.get(step)) {
            // Items that stand there twice are compared as a whole.
            (Some(None), None) => child.removed.member = true,
            (Some(None), Some(_)) | (Some(_), Some(None)) => child.changed.member = old != new,
            (None, Some(None)) => child.changed.member = true,
            (before, after) => compare_into(at.items(), before.copied().flatten(), after.copied().flatten(), child),
        });
    }
}

/// A granular map or list with something in it.
fn is_container(at: At<'_>, value: Option<&Value>) -> bool {
    value.is_some_and(|value| {
        let filled = value.as_object().is_some_and(|fields| !fields.is_empty()) || value.as_array().is_some_and(|items| !items.is_empty());
        filled && is_granular(at, value)
    })
}

/// Nothing, an empty map or an empty list.
fn is_hollow(value: Option<&Value>) -> bool {
    value.is_none_or(|value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    })
}

fn get<'a>(value: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    value.and_then(|value| value.get(name))
}

fn fields(value: Option<&Value>) -> impl Iterator<Item = &String> {
    value.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name)
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The value without the members of a set; a container that loses its last part goes with it.
pub(crate) fn without(at: At<'_>, value: &Value, set: &FieldSet) -> Option<Value> {
    if set.children.is_empty() || !is_granular(at, value) {
        return Some(value.clone());
    }
    match value {
        Value::Object(fields) => {
            let keep = |(name, field): (&String, &Value)| {
                let kept = match set.children.get(&Step::Field(name.clone())) {
                    None => Some(field.clone()),
                    Some(child) if child.member => None,
                    Some(child) => without(at.field_or_any(name), field, child),
                };
                kept.map(|field| (name.clone(), field))
            };
            let kept: Map<_, _> = fields.iter().filter_map(keep).collect();
            (!kept.is_empty() || fields.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let keep = |item: &Value| match step_to(at, item).ok().and_then(|step| set.children.get(&step)) {
                None => Some(item.clone()),
                Some(child) if child.member => None,
                Some(child) => without(at.items(), item, child),
            };
            let kept: Vec<_> = items.iter().filter_map(keep).collect();
            (!kept.is_empty() || items.is_empty()).then_some(Value::Array(kept))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(value.clone()),
    }
}
