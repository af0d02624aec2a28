//! The merge of server-side apply: maps field by field, lists by their type, everything else by replacement.
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    managed_fields::{
        field_set::{Step, step_to},
        typed::{is_granular, items_by_step},
    },
    schema::node::{At, ListType},
};

/// What `live` becomes with `applied` on top.
pub(super) fn merge(at: At<'_>, live: Option<&Value>, applied: &Value) -> Value {
    match (live, applied) {
        (Some(Value::Object(live)), Value::Object(fields)) if is_granular(at, applied) => Value::Object(merge_map(at, live, fields)),
        (Some(Value::Array(live)), Value::Array(items)) if is_granular(at, applied) => Value::Array(merge_list(at, live, items)),
        // A null says nothing of what is in a map or list.
        (Some(live), Value::Null) if is_granular(at, live) => live.clone(),
        _ => applied.clone(),
    }
}

fn merge_map(at: At<'_>, live: &Map<String, Value>, applied: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in applied {
        let value = merge(at.field_or_any(name), live.get(name), value);
        merged.insert(name.clone(), value);
    }
    merged
}

/// Items in the applied order; those that only the live list has stay where they stood among their neighbours.
fn merge_list(at: At<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let (live_order, live_items) = items_by_step(at, live);
    let (order, items) = items_by_step(at, applied);
    let shared: BTreeSet<&Step> = order.iter().filter(|step| live_items.contains_key(step)).collect();
    let merged =
        |step: &Step| items.get(step).copied().flatten().map(|item| merge(at.items(), live_items.get(step).copied().flatten(), item));
    let (mut result, mut rest) = (Vec::new(), order.iter().peekable());
    let mut done = BTreeSet::new();
    for step in &live_order {
        if !shared.contains(step) {
            result.extend(live.iter().filter(|item| step_to(at, item).as_ref() == Ok(step)).cloned());
            continue;
        }
        // Up to and with this shared item; if an earlier one took it along already, there is nothing to do.
        while !done.contains(step) {
            let Some(next) = rest.next() else { break };
            done.insert(next);
            result.extend(merged(next));
        }
    }
    result.extend(rest.filter_map(merged));
    result
}

/// Items that stand in an applied list twice, or that no key tells apart; the first by its path.
pub(super) fn find_ambiguous(at: At<'_>, value: &Value, path: &str) -> Option<String> {
    match value {
        Value::Object(fields) if is_granular(at, value) => {
            fields.iter().find_map(|(name, field)| find_ambiguous(at.field_or_any(name), field, &format!("{path}.{name}")))
        }
        Value::Array(items) if at.node.list != ListType::Atomic => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let step = match step_to(at, item) {
                    Ok(step) => step,
                    Err(error) => return Some(format!("{path}: element {index}: {error}")),
                };
                if !seen.insert(step.clone()) {
                    return Some(format!("{path}: duplicate entries for key {}", step.shown()));
                }
                if let Some(found) = find_ambiguous(at.items(), item, &format!("{path}{}", step.shown())) {
                    return Some(found);
                }
            }
            None
        }
        _ => None,
    }
}
