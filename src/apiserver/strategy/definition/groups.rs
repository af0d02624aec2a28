//! Which groups a definition may define resources in: not those that this server serves itself, and those of Kubernetes only with its community's approval.
use serde_json::Value;

use crate::{object, registry::is_built_in_group, schema::FieldError};

const APPROVAL: &str = "api-approved.kubernetes.io";
const SEE: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// What is wrong with the group of a new definition, or with the approval of one whose approval was changed.
pub(super) fn check(new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let group = object::text(new, "/spec/group").unwrap_or_default();
    if old.is_none() && is_built_in_group(group) {
        return vec![FieldError::forbidden(
            "spec.group",
            &format!("{group:?} is served by this API itself; choose a group of your own, as \"example.com\""),
        )];
    }
    let approval = |definition: &Value| object::text(definition, &format!("/metadata/annotations/{APPROVAL}")).map(str::to_owned);
    if !is_protected(group) || old.is_some_and(|old| approval(old) == approval(new)) {
        return Vec::new();
    }
    let (field, rule) =
        (format!("metadata.annotations[{APPROVAL}]"), format!("protected groups must have approval annotation {APPROVAL:?}"));
    match approval(new) {
        Some(text) if text.starts_with("unapproved") || is_url(&text) => Vec::new(),
        Some(text) => vec![FieldError::invalid(
            field,
            &text.into(),
            &format!("{rule} with either a URL or a reason starting with \"unapproved\", see {SEE}"),
        )],
        None => vec![FieldError::required(field, &format!("{rule}, see {SEE}"))],
    }
}

/// `k8s.io`, `kubernetes.io`, and all below them.
fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|top| group.strip_suffix(top).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(group: &str, approval: Option<&str>) -> Option<String> {
        let annotations = approval.map(|approval| json!({APPROVAL: approval})).unwrap_or_default();
        let definition = json!({"metadata": {"annotations": annotations}, "spec": {"group": group}});
        check(&definition, None).first().map(|error| error.field.clone())
    }

    #[test]
    fn a_definition_takes_no_group_that_is_served_already_whoever_approves() {
        for group in ["coordination.k8s.io", "apps", "events.k8s.io", "apiextensions.k8s.io", "discovery.k8s.io"] {
            assert_eq!(field(group, Some("https://github.com/kubernetes/enhancements/pull/1")).as_deref(), Some("spec.group"), "{group}");
        }
    }

    #[test]
    fn a_group_of_kubernetes_needs_an_approval_and_another_one_does_not() {
        let annotation = Some("metadata.annotations[api-approved.kubernetes.io]");
        for group in ["gateway.networking.k8s.io", "k8s.io", "x.kubernetes.io"] {
            assert_eq!(field(group, None).as_deref(), annotation, "{group}");
            assert_eq!(field(group, Some("yes")).as_deref(), annotation, "{group}");
            assert_eq!(field(group, Some("https://github.com/kubernetes-sigs/gateway-api/pull/4538")), None);
            assert_eq!(field(group, Some("unapproved, experimental-only")), None);
        }
        for group in ["judge.example", "mesh-controller.dev", "notk8s.io", "k8s.io.example"] {
            assert_eq!(field(group, None), None, "{group}");
        }
    }
}
