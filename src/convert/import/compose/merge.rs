//! One service laid over another, for `extends` and for several files, by the rules of the Compose Specification.
use serde_json::{Map, Value};

use crate::import::fields::scalar;

/// Lists of which the later one wins as a whole.
const REPLACED: [&str; 3] = ["command", "entrypoint", "test"];
/// What may be a mapping or a list of `KEY=VALUE`, and is merged by key.
const PAIRS: [&str; 7] = ["environment", "labels", "extra_hosts", "sysctls", "annotations", "build_args", "args"];
/// What may be a list of names or a mapping by name.
const NAMES: [&str; 2] = ["networks", "depends_on"];

/// Lays `over` over `base`.
pub(super) fn merge(base: &mut Value, over: Value) {
    merge_field("", base, over);
}

fn merge_field(key: &str, base: &mut Value, over: Value) {
    if PAIRS.contains(&key) {
        *base = Value::Object(by_key(base.take(), '=').into_iter().chain(by_key(over, '=')).collect());
        return;
    }
    if NAMES.contains(&key) && (base.is_object() || over.is_object()) {
        *base = Value::Object(by_key(base.take(), '\0').into_iter().chain(by_key(over, '\0')).collect());
        return;
    }
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(there) => merge_field(&key, there, value),
                    None => drop(base.insert(key, value)),
                }
            }
        }
        (Value::Array(base), Value::Array(over)) if !REPLACED.contains(&key) => {
            for value in over {
                base.retain(|there| !same(key, there, &value));
                base.push(value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Volumes of one target are one.
fn same(key: &str, a: &Value, b: &Value) -> bool {
    let target = |value: &Value| match value {
        Value::Object(map) => map.get("target").and_then(Value::as_str).map(str::to_owned),
        Value::String(text) => text.split(':').nth(1).map(str::to_owned),
        _ => None,
    };
    a == b || (key == "volumes" && target(a).is_some() && target(a) == target(b))
}

fn by_key(value: Value, separator: char) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Array(list) => list
            .iter()
            .filter_map(scalar)
            .map(|text| match text.split_once(separator) {
                Some((key, value)) => (key.to_owned(), value.into()),
                None => (text, Value::Null),
            })
            .collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mappings_are_merged_lists_joined_and_commands_replaced() {
        let mut base =
            json!({"image": "a", "command": ["x", "y"], "environment": ["A=1", "B=2"], "ports": ["80:80"], "volumes": ["old:/data"]});
        merge(
            &mut base,
            json!({"image": "b", "command": ["z"], "environment": {"B": "3"}, "ports": ["81:81", "80:80"], "volumes": ["new:/data"]}),
        );
        let merged = json!({"image": "b", "command": ["z"], "environment": {"A": "1", "B": "3"}, "ports": ["81:81", "80:80"], "volumes": ["new:/data"]});
        assert_eq!(base, merged);
    }
}
