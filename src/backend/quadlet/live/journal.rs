//! Lines of `journalctl -o json`, and what a log shows of them. Pure.
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One entry of the journal, as far as it matters.
#[derive(Debug, Deserialize)]
struct Entry {
    /// Text; an array of bytes if it is none; an array of either if the field was given more than once.
    #[serde(rename = "MESSAGE", default)]
    message: Value,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    at: String,
    /// The program's line goes on in the next entry.
    #[serde(rename = "CONTAINER_PARTIAL_MESSAGE", default)]
    partial: Option<String>,
}

/// Makes a log of entries: parts of long lines are joined again.
#[derive(Debug, Default)]
pub(super) struct Lines {
    timestamps: bool,
    is_inside: bool,
}

impl Lines {
    /// With the time before each line, or without.
    pub(super) fn new(timestamps: bool) -> Self {
        Self { timestamps, is_inside: false }
    }

    /// The bytes that an entry adds to the log; nothing for what is no entry.
    pub(super) fn add(&mut self, json: &[u8]) -> Vec<u8> {
        let Ok(entry) = serde_json::from_slice::<Entry>(json) else { return Vec::new() };
        let mut bytes = Vec::new();
        if self.timestamps && !self.is_inside {
            bytes.extend_from_slice(format!("{} ", time(&entry.at)).as_bytes());
        }
        let message = content(&entry.message);
        // conmon keeps the line break that the program wrote; the last line of a program may have none.
        bytes.extend_from_slice(message.strip_suffix(b"\n").unwrap_or(&message));
        self.is_inside = entry.partial.as_deref() == Some("true");
        if !self.is_inside {
            bytes.push(b'\n');
        }
        bytes
    }
}

fn time(microseconds: &str) -> String {
    let at = microseconds.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok()).unwrap_or_default();
    format!("{at:.6}")
}

fn content(message: &Value) -> Vec<u8> {
    let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
    match message {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) => bytes.iter().filter_map(byte).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(timestamps: bool, entries: &[&str]) -> String {
        let mut lines = Lines::new(timestamps);
        String::from_utf8(entries.iter().flat_map(|entry| lines.add(entry.as_bytes())).collect()).unwrap()
    }

    #[test]
    fn entries_become_the_lines_that_the_program_wrote() {
        let plain = r#"{"MESSAGE":"hello\n","__REALTIME_TIMESTAMP":"1795251600000001"}"#;
        let bytes = r#"{"MESSAGE":[104,105,27],"__REALTIME_TIMESTAMP":"1795251600000002"}"#;
        let part = r#"{"MESSAGE":"lo","__REALTIME_TIMESTAMP":"1795251600000003","CONTAINER_PARTIAL_MESSAGE":"true"}"#;
        let rest = r#"{"MESSAGE":"ng","__REALTIME_TIMESTAMP":"1795251600000004"}"#;
        assert_eq!(log(false, &[plain, bytes, part, rest, "no json"]), "hello\nhi\u{1b}\nlong\n");
        assert_eq!(log(true, &[plain, part, rest]), "2026-11-21T09:00:00.000001Z hello\n2026-11-21T09:00:00.000003Z long\n");
    }
}
