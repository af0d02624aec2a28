//! What there is, as OpenAPI: the document is a file beside this one, and a test holds it to what is answered.
use serde_json::Value;

/// The document.
pub(crate) fn document() -> Value {
    serde_json::from_str(include_str!("openapi.json")).unwrap_or_default()
}
