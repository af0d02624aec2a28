//! Values as YAML for people: fields in the order in which one reads a service, plain words without quotes, texts of several lines as blocks.
use serde_json::{Map, Value};

/// Fields that stand first, in this order; all others follow by name.
const FIRST: [&str; 34] = [
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "namespace",
    "labels",
    "annotations",
    "spec",
    "type",
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "command",
    "args",
    "workingDir",
    "port",
    "replicas",
    "route",
    "routes",
    "hostnames",
    "path",
    "strategy",
    "sessionPersistence",
    "env",
    "envFrom",
    "healthPath",
    "readinessProbe",
    "livenessProbe",
    "startupProbe",
    "httpGet",
    "tcpSocket",
    "exec",
    "resources",
    "securityContext",
];

/// A document, ending with a line break.
pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) => fields(map, 0, &mut out),
        other => out.push_str(&(inline(other) + "\n")),
    }
    out
}

fn fields(map: &Map<String, Value>, indent: usize, out: &mut String) {
    for (key, value) in ordered(map) {
        out.push_str(&" ".repeat(indent));
        out.push_str(&word(key));
        out.push(':');
        after(value, indent, out);
    }
}

fn ordered(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = map.iter().collect();
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    fields.sort_by_key(|(key, _)| (rank(key), (*key).clone()));
    fields
}

/// What stands after `key:`.
fn after(value: &Value, indent: usize, out: &mut String) {
    match value {
        value if is_short(value) => line(value, out),
        Value::Object(map) => {
            out.push('\n');
            fields(map, indent + 2, out);
        }
        Value::Array(list) => {
            out.push('\n');
            items(list, indent, out);
        }
        Value::String(text) if is_block(text) => block(text, indent + 2, out),
        other => line(other, out),
    }
}

/// The rest of a line.
fn line(value: &Value, out: &mut String) {
    out.push(' ');
    out.push_str(&inline(value));
    out.push('\n');
}

fn items(list: &[Value], indent: usize, out: &mut String) {
    for item in list {
        out.push_str(&" ".repeat(indent));
        out.push('-');
        match item {
            Value::Object(map) if !is_short(item) => {
                let mut inner = String::new();
                fields(map, indent + 2, &mut inner);
                out.push(' ');
                out.push_str(inner.trim_start_matches(' '));
            }
            // Lists of lists are rare, and no nicer in blocks.
            Value::Array(_) => line(item, out),
            other => after(other, indent, out),
        }
    }
}

/// Empty ones, lists of words, and mappings of one or two words stand on one line, if it is no long one.
fn is_short(value: &Value) -> bool {
    let scalar = |value: &Value| !value.is_object() && !value.is_array() && !value.as_str().is_some_and(is_block);
    let short = match value {
        Value::Array(list) => list.iter().all(scalar),
        Value::Object(map) => map.len() <= 2 && map.contains_key("name") && map.values().all(scalar) || map.is_empty(),
        _ => return false,
    };
    short && inline(value).len() <= 120
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let fields: Vec<String> = ordered(map).iter().map(|(key, value)| format!("{}: {}", word(key), inline(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::String(text) => word(text),
        other => other.to_string(),
    }
}

/// Text of several lines that a block keeps as it is.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && text.ends_with('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && !text.ends_with("\n\n")
}

fn block(text: &str, indent: usize, out: &mut String) {
    out.push_str(" |\n");
    for line in text.lines() {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A word as YAML reads it back: in quotes (a JSON string is one of YAML) unless it is plain beyond doubt.
pub(crate) fn word(word: &str) -> String {
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.' || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@=:".contains(c))
        && !word.contains("::")
        && !word.ends_with(':');
    let reserved =
        matches!(word.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n" | ".nan" | ".inf");
    let number = word.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    // `512Mi`, `5s`, `500m`: no number of YAML ends so.
    let digits = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let amount = digits.len() < word.len() && matches!(digits, "m" | "s" | "h" | "k" | "M" | "G" | "T" | "Ki" | "Mi" | "Gi" | "Ti");
    if amount || (plain && !reserved && !number) { word.to_owned() } else { Value::from(word).to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_it_in_order() {
        let value = json!({"spec": {"replicas": 2, "command": ["node", "a b", "8080"], "env": [{"name": "A", "value": "yes"}], "drain": {"timeout": "5s"}}, "kind": "MeshService", "metadata": {"name": "web"}, "data": {"f": "a\nb\n"}});
        let text = "kind: MeshService\nmetadata: {name: web}\nspec:\n  command: [node, \"a b\", \"8080\"]\n  replicas: 2\n  env:\n  - {name: A, value: \"yes\"}\n  drain:\n    timeout: 5s\ndata:\n  f: |\n    a\n    b\n";
        assert_eq!(document(&value), text);
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[ -~\n\t]{0,12}".prop_map(Value::from),
            "[a-z0-9.:_/-]{0,10}".prop_map(Value::from),
            Just(json!("a\n\n b\n")),
            any::<i32>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from)
        ];
        text.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z0-9.: -]{1,8}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same(value in prop::collection::btree_map("[a-z]{1,5}", values(), 1..4)) {
            let value = json!(value);
            let text = document(&value);
            let back: Value = serde_saphyr::from_str(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
            prop_assert_eq!(back, value, "{}", text);
        }
    }
}
