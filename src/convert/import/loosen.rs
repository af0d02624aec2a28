//! A container here may do nothing unless it is said; elsewhere it may do what its engine allows. An import says what it had, so that it runs as before.
use serde_json::{Value, json};

use super::draft::{Book, Draft};

/// The engine's own capabilities and a root that can be written, unless the input was stricter.
pub(super) fn loosen(draft: &mut Draft, read_only: bool, add: &[String], dropped: &[String]) {
    let context = draft.inner("securityContext");
    if !read_only {
        context.insert("readOnlyRootFilesystem".to_owned(), false.into());
    }
    let mut capabilities = serde_json::Map::new();
    if !add.is_empty() {
        capabilities.insert("add".to_owned(), add.into());
    }
    if dropped != ["ALL"] {
        capabilities.insert("drop".to_owned(), dropped.into());
    }
    if !capabilities.is_empty() {
        context.insert("capabilities".to_owned(), capabilities.into());
    }
    if context.is_empty() {
        draft.spec.remove("securityContext");
    }
}

/// Says so.
pub(super) fn note(draft: &Draft, path: &str, book: &mut Book<'_>) {
    let context = draft.spec.get("securityContext").unwrap_or(&Value::Null);
    let loose = context.get("readOnlyRootFilesystem") == Some(&json!(false)) || context.pointer("/capabilities/drop").is_some();
    if loose {
        book.said(path, "securityContext allows what it was allowed before: take it out if the image needs none of it; in a cluster runAsUser says whom it runs as (0 for root)");
    }
}
