//! The four patches: JSON patch, merge patch, strategic merge patch and server-side apply. Each makes a new object; none writes.
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
}

/// Applies a JSON patch (RFC 6902).
///
/// # Errors
/// A patch that is none, or one that does not fit the object.
pub fn json(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| PatchError::Malformed(format!("error decoding patch: {error}")))?;
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &patch).map_err(|_| PatchError::Rejected)?;
    Ok(patched)
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
