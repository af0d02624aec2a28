//! The four patches: JSON patch, merge patch, strategic merge patch and server-side apply. Each makes a new object; none writes.
use json_patch::PatchOperation;
use serde_json::Value;

mod apply;
mod merging;
mod strategic;

pub use apply::{ApplyError, ApplyOptions, Conflict, apply};

use crate::schema::Schema;

/// Why a patch could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 422 Invalid: a JSON patch that does not fit the object (a failed `test` among others).
    #[error("the server rejected our request due to an error in our request")]
    Rejected,
    /// 400 `BadRequest`: the patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
    /// 413 `RequestEntityTooLarge`: the patch would do, or make, too much.
    #[error("{0}")]
    TooLarge(String),
}

/// The operations that a JSON patch may have: as many as kube-apiserver takes.
const OPERATIONS: usize = 10_000;
/// The bytes of JSON that the `copy` operations of a JSON patch may make in all: as much as a request may have, as in kube-apiserver. Without this
/// bound a patch of 3 KB, each operation of which copies what the one before it made, makes gigabytes.
const COPIED: usize = 3 << 20;

/// Applies a JSON patch (RFC 6902).
///
/// # Errors
/// A patch that is none, or one that does not fit the object.
pub fn json(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    if let Some(count) = patch.as_array().map(Vec::len).filter(|count| *count > OPERATIONS) {
        return Err(PatchError::TooLarge(format!("The allowed maximum operations in a JSON patch is {OPERATIONS}, got {count}")));
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in patch.0 {
        if let PatchOperation::Copy(copy) = &operation {
            copied += copy.from.resolve(&patched).map_or(0, size);
            if copied > COPIED {
                return Err(PatchError::TooLarge(format!("the copy operations of the JSON patch make more than {COPIED} bytes")));
            }
        }
        json_patch::patch(&mut patched, &[operation]).map_err(|_| PatchError::Rejected)?;
    }
    Ok(patched)
}

/// About as many bytes as the value has in JSON.
fn size(value: &Value) -> usize {
    const PUNCTUATION: usize = 4;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 2 * PUNCTUATION,
        Value::String(text) => text.len() + PUNCTUATION,
        Value::Array(items) => PUNCTUATION + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => PUNCTUATION + fields.iter().map(|(name, value)| name.len() + PUNCTUATION + size(value)).sum::<usize>(),
    }
}

/// Applies a merge patch (RFC 7386).
pub fn merge(object: &Value, patch: &Value) -> Value {
    let mut merged = object.clone();
    json_patch::merge(&mut merged, patch);
    merged
}

/// Applies a strategic merge patch by the schema's merge keys and strategies.
///
/// # Errors
/// A directive that is malformed, or list items without their merge key.
pub fn strategic(object: &Value, patch: &Value, schema: &Schema) -> Result<Value, PatchError> {
    strategic::apply(schema.root(), object, patch)
}

#[cfg(test)]
mod tests;
