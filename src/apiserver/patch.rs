//! The four patches: JSON patch, merge patch, strategic merge patch and server-side apply. Each makes a new object; none writes.
use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::schema::{FieldError, Schema};

/// Why a patch could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 422: a JSON patch that does not fit the object (a failed `test` among others).
    #[error("the server rejected our request due to an error in our request")]
    Rejected,
    /// 400: the patch itself is malformed.
    #[error("{0}")]
    Malformed(String),
}

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// 409: others own fields of another value.
    #[error("{}", conflict_text(.0))]
    Conflict(Vec<Conflict>),
    /// 400: the applied object carries managedFields.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// 422, PatchOptions: no field manager.
    #[error("fieldManager: Required value: is required for apply patch")]
    FieldManager,
    /// 400: the object does not fit its schema well enough to be merged.
    #[error("{0}")]
    Malformed(String),
}

/// A field that another manager owns; a cause of the 409.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// `conflict with "A"`, `conflict with "X" using judge.example/v1`
    pub message: String,
    /// `.spec.size`
    pub field: String,
}

impl Conflict {
    /// The cause's reason.
    pub const REASON: &'static str = "FieldManagerConflict";
}

fn conflict_text(conflicts: &[Conflict]) -> String {
    format!("Apply failed with {} conflicts", conflicts.len())
}

/// Who applies, and how.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// The field manager; never empty.
    pub manager: &'a str,
    /// Take over what others own.
    pub force: bool,
    /// `group/version` of the endpoint.
    pub api_version: &'a str,
    /// `status` or `scale` for an apply to a subresource.
    pub subresource: Option<&'a str>,
    /// For the manager's entry.
    pub now: Timestamp,
}

/// Applies a JSON patch (RFC 6902).
///
/// # Errors
/// A patch that is none, or one that does not fit the object.
pub fn json(object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let _ = patch;
    Ok(object.clone())
}

/// Applies a merge patch (RFC 7386).
pub fn merge(object: &Value, patch: &Value) -> Value {
    let _ = patch;
    object.clone()
}

/// Applies a strategic merge patch by the schema's merge keys and strategies.
///
/// # Errors
/// A directive that is malformed, or list items without their merge key.
pub fn strategic(object: &Value, patch: &Value, schema: &Schema) -> Result<Value, PatchError> {
    let _ = (patch, schema);
    Ok(object.clone())
}

/// Server-side apply: merges `applied` into `live` (none: creates) and brings `metadata.managedFields` up to date.
/// The result equals `live` if nothing changed. Defaults are the caller's: apply, then default, prune, validate.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(live: Option<&Value>, applied: &Value, schema: &Schema, options: &ApplyOptions<'_>) -> Result<Value, ApplyError> {
    let _ = (live, schema, options);
    Ok(applied.clone())
}

#[expect(dead_code, reason = "until the strategies use it")]
type Fields = Vec<FieldError>;
