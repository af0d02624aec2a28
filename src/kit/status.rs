//! What an API says when it refuses.
use kube::core::Status;

/// Its message; where it gives none, its reason or its code. kube's own text has the whole answer behind it.
pub fn said(status: &Status) -> String {
    let said = [&status.message, &status.reason].into_iter().find(|text| !text.is_empty()).cloned();
    said.unwrap_or_else(|| format!("HTTP status {}", status.code))
}
