//! Request bodies: JSON, YAML or Kubernetes protobuf, each into one JSON value.
//!
//! Fields that stand there twice are told apart from the rest: strict field validation refuses them, the others take the last one.
use serde_json::Value;

mod traced;

use crate::protobuf;

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object; of a field that stood there twice, the last.
    pub value: Value,
    /// The paths of fields that stood there twice (`spec.size`), as strict field validation names them.
    pub duplicates: Vec<String>,
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// 415: no decoder for this media type. A patch has its own list of types: the caller checks that before.
    #[error(
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    )]
    MediaType,
    /// 400: not what the media type promises; [`DecodeError::for_kind`] is the message.
    #[error("{text} ({excerpt})")]
    Malformed {
        /// What the decoder said.
        text: String,
        /// The first bytes.
        excerpt: String,
    },
    /// 400: an apply patch that is no YAML.
    #[error("error decoding YAML: {0}")]
    Yaml(String),
}

impl DecodeError {
    /// The `Status` message where an object of this kind was expected.
    pub fn for_kind(&self, kind: &str) -> String {
        match self {
            Self::MediaType | Self::Yaml(_) => self.to_string(),
            Self::Malformed { .. } => format!("the object provided is unrecognized (must be of type {kind}): {self}"),
        }
    }
}

/// How a media type is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
    ApplyPatch,
    Protobuf,
}

/// Reads a body by its `Content-Type`; without one it is JSON. An apply patch may be JSON or YAML.
///
/// # Errors
/// An unknown media type, or a body that is not of it.
pub fn body(content_type: Option<&str>, bytes: &[u8]) -> Result<Decoded, DecodeError> {
    match format(content_type)? {
        Format::Json => json(bytes),
        Format::Yaml => yaml(bytes).map_err(|text| malformed(format!("couldn't get version/kind; yaml parse error: {text}"), bytes)),
        Format::ApplyPatch => json(bytes).or_else(|_| yaml(bytes).map_err(DecodeError::Yaml)),
        Format::Protobuf => {
            let value = protobuf::decode(bytes).map_err(|error| malformed(error.to_string(), bytes))?;
            Ok(Decoded { value, duplicates: Vec::new() })
        }
    }
}

fn format(content_type: Option<&str>) -> Result<Format, DecodeError> {
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        ""
        | "*/*"
        | "application/json"
        | "application/json-patch+json"
        | "application/merge-patch+json"
        | "application/strategic-merge-patch+json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        "application/apply-patch+yaml" => Ok(Format::ApplyPatch),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(DecodeError::MediaType),
    }
}

fn json(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        malformed(format!("couldn't get version/kind; json parse error: {text}"), bytes)
    })
}

fn yaml(bytes: &[u8]) -> Result<Decoded, String> {
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_slice_with_options(bytes, options).map_err(|error| error.to_string())
}

fn malformed(text: String, bytes: &[u8]) -> DecodeError {
    DecodeError::Malformed { text, excerpt: excerpt(bytes) }
}

/// At most 30 bytes: text if it is JSON, hexadecimal otherwise.
fn excerpt(bytes: &[u8]) -> String {
    let (head, dots) = if bytes.len() > 30 { (bytes.get(..30).unwrap_or(bytes), " ...") } else { (bytes, "") };
    match head.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{dots}", String::from_utf8_lossy(head)),
        Some(_) => head.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")) + dots,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn decode(content_type: &str, text: &str) -> Decoded {
        body(Some(content_type), text.as_bytes()).expect("a body")
    }

    #[test]
    fn a_field_that_stands_there_twice_is_named_by_its_path_and_the_last_one_wins() {
        let text = r#"{"spec":{"size":1,"size":2,"parts":[{"a":1},{"q":1,"q":2,"q":3}]},"kind":"A","kind":"B"}"#;
        for content_type in ["application/json", "application/yaml", "application/apply-patch+yaml; charset=utf-8"] {
            let decoded = decode(content_type, text);
            assert_eq!(decoded.value, json!({"spec": {"size": 2, "parts": [{"a": 1}, {"q": 3}]}, "kind": "B"}));
            assert_eq!(decoded.duplicates, ["spec.size", "spec.parts[1].q", "kind"]);
        }
    }

    #[test]
    fn block_yaml_is_read_with_its_duplicates() {
        let decoded =
            decode("application/apply-patch+yaml", "kind: Widget\nspec:\n  size: 1\n  size: 5\n  on: [true, \"yes\", 1.5, null]\n");
        assert_eq!(decoded.value, json!({"kind": "Widget", "spec": {"size": 5, "on": [true, "yes", 1.5, null]}}));
        assert_eq!(decoded.duplicates, ["spec.size"]);
    }

    #[test]
    fn integers_stay_exact_and_a_whole_float_is_an_integer() {
        let decoded = decode("application/json", "[9223372036854775807, -9223372036854775808, 1.0, 1e3, 1.5]");
        assert_eq!(decoded.value, json!([i64::MAX, i64::MIN, 1, 1000, 1.5]));
    }

    #[test]
    fn a_truncated_body_is_told_as_kubernetes_tells_it() {
        let error = body(Some("application/json"), br#"{"apiVersion":"judge.example/v1","kind":"Wid"#).expect_err("truncated");
        assert_eq!(
            error.for_kind("Widget"),
            "the object provided is unrecognized (must be of type Widget): couldn't get version/kind; json parse error: \
             unexpected end of JSON input ({\"apiVersion\":\"judge.example/v ...)"
        );
    }

    #[test]
    fn an_unknown_media_type_is_refused_and_a_missing_one_is_json() {
        assert_eq!(body(Some("application/cbor"), b"{}"), Err(DecodeError::MediaType));
        assert_eq!(body(None, b"{}").expect("json").value, json!({}));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}:,\"a0-9 \n&*-]{0,60}") {
            for content_type in ["application/json", "application/yaml", "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf"] {
                let _ = body(Some(content_type), &bytes);
                let _ = body(Some(content_type), text.as_bytes());
            }
        }
    }
}
