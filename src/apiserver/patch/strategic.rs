//! Strategic merge patch: a merge patch that knows by which key list items are the same one, and has directives.
use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::node::{At, PatchStrategy};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

fn malformed(text: impl Into<String>) -> PatchError {
    PatchError::Malformed(text.into())
}

/// Applies a patch to the object; what is no object in either is replaced.
pub(super) fn apply(at: At<'_>, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else { return Err(malformed("a strategic merge patch is an object")) };
    let empty = Map::new();
    Ok(merge_map(at, object.as_object().unwrap_or(&empty), patch)?.map_or_else(|| Value::Object(Map::new()), Value::Object))
}

/// `None`: the patch deletes the map.
fn merge_map(at: At<'_>, original: &Map<String, Value>, patch: &Map<String, Value>) -> Result<Option<Map<String, Value>>, PatchError> {
    match patch.get(DIRECTIVE).map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("delete")) => return Ok(None),
        Some(Some("replace")) => return Ok(Some(without_directives(patch))),
        Some(_) => return Err(malformed(format!("unknown patch type found in {DIRECTIVE}"))),
    }
    let mut merged = original.clone();
    if let Some(retained) = patch.get(RETAIN_KEYS) {
        let retained = retained.as_array().ok_or_else(|| malformed("$retainKeys must be a list of field names"))?;
        merged.retain(|name, _| retained.iter().any(|retained| retained == name));
    }
    delete_primitives(&mut merged, patch)?;
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let merged_value = merge_value(at.field_or_any(name), merged.get(name), value)?;
        match merged_value {
            Some(value) => merged.insert(name.clone(), value),
            None => merged.remove(name),
        };
    }
    set_orders(at, &mut merged, patch);
    Ok(Some(merged))
}

fn merge_value(at: At<'_>, original: Option<&Value>, patch: &Value) -> Result<Option<Value>, PatchError> {
    match (original, patch) {
        (_, Value::Null) => Ok(None),
        (original, Value::Object(patch)) => {
            let empty = Map::new();
            let original = original.and_then(Value::as_object).unwrap_or(&empty);
            Ok(merge_map(at, original, patch)?.map(Value::Object))
        }
        (original, Value::Array(patch)) => {
            let original = original.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            merge_list(at, original, patch).map(|items| Some(Value::Array(items)))
        }
        (_, scalar) => Ok(Some(scalar.clone())),
    }
}

/// A list is replaced, unless its strategy is to merge: objects by their key, the rest as a set.
fn merge_list(at: At<'_>, original: &[Value], patch: &[Value]) -> Result<Vec<Value>, PatchError> {
    let replace = patch.iter().any(|item| item.get(DIRECTIVE).is_some_and(|directive| directive == "replace"));
    match at.node.patch.as_deref() {
        Some(PatchStrategy { merge: true, merge_key, .. }) if !replace => {
            if let Some(key) = merge_key {
                merge_by_key(at, original, patch, key)
            } else {
                let new = patch.iter().filter(|item| !original.contains(item));
                Ok(original.iter().chain(new).cloned().collect())
            }
        }
        _ => Ok(patch.iter().filter(|item| item.get(DIRECTIVE).is_none()).map(plain).collect()),
    }
}

fn merge_by_key(at: At<'_>, original: &[Value], patch: &[Value], key: &str) -> Result<Vec<Value>, PatchError> {
    let mut merged = original.to_vec();
    let empty = Map::new();
    for item in patch {
        let item = item.as_object().ok_or_else(|| malformed("a list that is merged by key holds objects only"))?;
        let value = item
            .get(key)
            .ok_or_else(|| malformed(format!("map: {} does not contain declared merge key: {key}", Value::Object(item.clone()))))?;
        let same = |candidate: &Value| candidate.get(key) == Some(value);
        if item.get(DIRECTIVE).is_some_and(|directive| directive == "delete") {
            merged.retain(|candidate| !same(candidate));
            continue;
        }
        let place = merged.iter().position(same);
        let before = place.and_then(|place| merged.get(place)).and_then(Value::as_object).unwrap_or(&empty);
        let Some(after) = merge_map(at.items(), before, item)?.map(Value::Object) else { continue };
        match place.and_then(|place| merged.get_mut(place)) {
            Some(slot) => *slot = after,
            None => merged.push(after),
        }
    }
    Ok(merged)
}

/// Deletions from sets: `$deleteFromPrimitiveList/finalizers: [a]`.
fn delete_primitives(merged: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    for (name, deleted) in patch.iter().filter_map(|(name, value)| Some((name.strip_prefix(DELETE_PRIMITIVES)?, value))) {
        let deleted = deleted.as_array().ok_or_else(|| malformed(format!("{DELETE_PRIMITIVES}{name} must be a list")))?;
        if let Some(Value::Array(items)) = merged.get_mut(name) {
            items.retain(|item| !deleted.contains(item));
        }
    }
    Ok(())
}

/// `$setElementOrder/ports`: the items named there in that order; the others stay next to the one they followed.
fn set_orders(at: At<'_>, merged: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, order) in patch.iter().filter_map(|(name, value)| Some((name.strip_prefix(SET_ORDER)?, value.as_array()?))) {
        let strategy = at.field_or_any(name).node.patch.as_deref();
        let key = strategy.and_then(|strategy| strategy.merge_key.as_deref());
        if let Some(Value::Array(items)) = merged.get_mut(name) {
            let named = |item: &Value| order.iter().position(|wanted| is_same(wanted, item, key));
            let mut last = 0;
            let mut placed: Vec<_> = std::mem::take(items)
                .into_iter()
                .map(|item| {
                    last = named(&item).map_or(last, |place| place + 1);
                    (last, item)
                })
                .collect();
            placed.sort_by_key(|(place, _)| *place);
            *items = placed.into_iter().map(|(_, item)| item).collect();
        }
    }
}

fn is_same(wanted: &Value, item: &Value, key: Option<&str>) -> bool {
    key.map_or(wanted == item, |key| wanted.get(key).is_some() && wanted.get(key) == item.get(key))
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(name, value)| !name.starts_with('$') && !value.is_null())
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

/// A value that replaces another one holds no directives.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) if fields.keys().any(|name| name.starts_with('$')) => Value::Object(without_directives(fields)),
        _ => value.clone(),
    }
}
