//! The paths by which a version of a definition points into its objects: of scale and of selectable fields. One that leads nowhere is refused;
//! it would be noticed only by who scales or selects.
use serde_json::Value;

use crate::schema::{FieldError, Reason};

/// What is wrong with the paths of a version; `field` is where the version stands.
pub(super) fn check(version: &Value, field: &str) -> Vec<FieldError> {
    let mut errors: Vec<_> =
        scale(version).into_iter().map(|(name, why)| invalid(format!("{field}.subresources.scale.{name}"), &why)).collect();
    let selectable = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    for (at, path) in selectable.enumerate() {
        let path = path.get("jsonPath").and_then(Value::as_str).unwrap_or_default();
        if let Some(why) = not_selectable(version, path) {
            errors.push(invalid(format!("{field}.selectableFields[{at}].jsonPath"), &format!("{path:?}: {why}")));
        }
    }
    errors
}

fn invalid(field: String, why: &str) -> FieldError {
    FieldError { reason: Reason::Invalid, message: format!("Invalid value: {why}"), field }
}

fn scale(version: &Value) -> Vec<(&'static str, String)> {
    let Some(scale) = version.pointer("/subresources/scale") else { return Vec::new() };
    let under: [(&str, &[&str]); 3] =
        [("specReplicasPath", &[".spec."]), ("statusReplicasPath", &[".status."]), ("labelSelectorPath", &[".spec.", ".status."])];
    let wrong = |(name, roots): &(&'static str, &[&str])| {
        let path = scale.get(name).and_then(Value::as_str)?;
        let root = || roots.iter().map(|root| root.trim_end_matches('.')).collect::<Vec<_>>().join(" or ");
        (!roots.iter().any(|root| path.starts_with(root))).then(|| (*name, format!("{path:?}: should be a json path under {}", root())))
    };
    under.iter().filter_map(wrong).collect()
}

/// Why a field cannot be selected by; none if it can.
fn not_selectable(version: &Value, path: &str) -> Option<&'static str> {
    let mut schema = version.pointer("/schema/openAPIV3Schema")?;
    for name in path.split('.').skip(1) {
        match schema.get("properties").and_then(|properties| properties.get(name)) {
            Some(property) => schema = property,
            None => return Some("is an invalid path: does not refer to a valid field"),
        }
    }
    let fits = path.starts_with('.') && matches!(schema.get("type").and_then(Value::as_str), Some("string" | "boolean" | "integer"));
    (!fits).then_some("must point to a field of type string, boolean or integer")
}
