//! One thing that is wrong with one field, in Kubernetes' words; it becomes a cause of a `Status`.

use serde_json::Value;

/// Why a field was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
}

impl Reason {
    /// The reason as it stands in `details.causes[].reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }
}

/// One refused field. Shown as `spec.size: Invalid value: 300: …`; the cause's message is [`FieldError::message`] alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct FieldError {
    /// Why.
    pub reason: Reason,
    /// The text after the field: `Required value`, `Invalid value: 300: …`.
    pub message: String,
    /// The path: `spec.parts[0].name`, `metadata.labels`, or `<nil>` where there is none.
    pub field: String,
}

impl FieldError {
    /// `Invalid value: V: why`
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: Reason::Invalid, message: format!("Invalid value: {}: {why}", shown(value)), field: field.into() }
    }

    /// `Required value` or `Required value: why`
    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        Self { reason: Reason::Required, message: with_detail("Required value", why), field: field.into() }
    }

    /// `Forbidden: why`
    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: Reason::Forbidden, message: with_detail("Forbidden", why), field: field.into() }
    }

    /// `Duplicate value: V`
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { reason: Reason::Duplicate, message: format!("Duplicate value: {}", shown(value)), field: field.into() }
    }

    /// `Invalid value: "string": … must be of type integer: "string"`
    pub(crate) fn type_invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { reason: Reason::TypeInvalid, ..Self::invalid(field, value, why) }
    }

    /// `Unsupported value: V: supported values: …`
    pub(crate) fn not_supported(field: impl Into<String>, value: &Value, allowed: &[Value]) -> Self {
        let allowed: Vec<_> = allowed.iter().map(|value| value.as_str().map_or_else(|| quoted(&value.to_string()), quoted)).collect();
        let message = format!("Unsupported value: {}: supported values: {}", shown(value), allowed.join(", "));
        Self { reason: Reason::NotSupported, message, field: field.into() }
    }

    /// `Too long: may not be more than N bytes`
    pub(crate) fn too_long(field: impl Into<String>, limit: u64) -> Self {
        let bytes = if limit == 1 { "byte" } else { "bytes" };
        Self { reason: Reason::TooLong, message: format!("Too long: may not be more than {limit} {bytes}"), field: field.into() }
    }

    /// `Too many: N: must have at most M items`
    pub(crate) fn too_many(field: impl Into<String>, actual: usize, limit: u64) -> Self {
        let items = if limit == 1 { "item" } else { "items" };
        Self { reason: Reason::TooMany, message: format!("Too many: {actual}: must have at most {limit} {items}"), field: field.into() }
    }
}

fn with_detail(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A value as Go shows it in an error: simple ones plainly, text quoted, the rest as JSON.
fn shown(value: &Value) -> String {
    value.to_string()
}

impl Reason {
    /// Whether CEL rules are not checked beside it: they could not rely on the object's shape.
    pub(crate) fn blocks_rules(self) -> bool {
        match self {
            Self::Required | Self::TypeInvalid | Self::NotSupported | Self::TooLong | Self::TooMany => true,
            Self::Invalid | Self::Duplicate | Self::Forbidden => false,
        }
    }
}

/// The path of a field below another one.
pub(super) fn join(path: &str, child: &str) -> String {
    if path.is_empty() { child.to_owned() } else { format!("{path}.{child}") }
}
