//! Admission: pure functions of the wiring's that may refuse a write after it was found valid.
use serde_json::Value;

use crate::schema::FieldError;

/// A write that is about to be committed.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionRequest<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    /// `v1`
    pub version: &'a str,
    /// `ConfigMap`
    pub kind: &'a str,
    /// The object as it would be stored.
    pub object: &'a Value,
    /// The object as it is; none for a create.
    pub old: Option<&'a Value>,
    /// Who asks.
    pub user: &'a str,
}

/// Answers what is wrong with a write, if anything; that becomes a 422 with causes.
pub type Admission = fn(&AdmissionRequest<'_>) -> Result<(), Vec<FieldError>>;
