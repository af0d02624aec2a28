//! What a refused write means: trouble of the spec, of the controller's rights, or of nobody. Pure.
use kube::core::Status;

use mesh_api::conditions::service::{FORBIDDEN, REJECTED};
use mesh_coordination::is_not_leader;
use mesh_plan::validate::Refusal;

/// What to make of it.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: another process leads, or the namespace goes.
    Nothing,
    /// It stays so until somebody changes something: a condition says what.
    Refused(Refusal),
    /// It is worth another try soon.
    Later,
}

/// What a failed write of `what` (`Deployment web`) means.
pub(super) fn verdict(error: &kube::Error, what: &str, system_namespace: &str) -> Verdict {
    if is_not_leader(error) {
        return Verdict::Nothing;
    }
    let kube::Error::Api(status) = error else { return Verdict::Later };
    if namespace_goes(status) {
        return Verdict::Nothing;
    }
    let refused = |reason, message| Verdict::Refused(Refusal { reason, message });
    match status.code {
        403 if is_about_rights(&status.message) => refused(
            FORBIDDEN,
            format!(
                "{}: give the controller's ServiceAccount in {system_namespace} the rights of this release: kubectl apply -k deploy/rbac, or helm upgrade",
                status.message
            ),
        ),
        // A webhook that does not answer stands in the way as one that says no.
        500 if status.message.contains("webhook") => refused(REJECTED, format!("{what}: {}", status.message)),
        400 | 403 | 405 | 413 | 415 | 422 => refused(REJECTED, format!("{what}: {}", status.message)),
        _ => Verdict::Later,
    }
}

/// Nothing can be made in it any more, and what is in it goes by itself.
fn namespace_goes(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let said = causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating");
    let gone = status.code == 404 && status.details.as_ref().is_some_and(|details| details.kind == "namespaces");
    said || gone || (status.code == 403 && status.message.contains("because it is being terminated"))
}

/// The authorizer's words; an admission plugin's refusal (a quota, a policy) has the same code and others.
fn is_about_rights(message: &str) -> bool {
    message.contains(" cannot ") && message.contains(" resource \"")
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;
    use serde_json::json;

    use super::*;

    fn refused(code: u16, message: &str, details: Option<StatusDetails>) -> Verdict {
        let status = Status { code, details, ..Status::failure(message, "") };
        verdict(&kube::Error::Api(Box::new(status)), "Deployment web", "mesh")
    }

    fn reason(verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Refused(refusal) => refusal.reason,
            Verdict::Nothing => "nothing",
            Verdict::Later => "later",
        }
    }

    #[test]
    fn a_refused_write_is_told_where_somebody_can_do_something_about_it() {
        let rights = "deployments.apps \"web\" is forbidden: User \"x\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"n\"";
        let details = |value| serde_json::from_value::<StatusDetails>(value).unwrap();
        let ends = details(json!({"causes": [{"reason": "NamespaceTerminating", "message": "", "field": ""}]}));
        let no_namespace = details(json!({"kind": "namespaces"}));
        for (code, message, details, expected) in [
            (403, rights, None, FORBIDDEN),
            (403, "deployments.apps \"web\" is forbidden: exceeded quota: q", None, REJECTED),
            (403, "unable to create new content in namespace n because it is being terminated", Some(ends), "nothing"),
            (404, "namespaces \"n\" not found", Some(no_namespace), "nothing"),
            (422, "Deployment.apps \"web\" is invalid: spec.selector: field is immutable", None, REJECTED),
            (500, "Internal error occurred: failed calling webhook \"x\"", None, REJECTED),
            (409, "Operation cannot be fulfilled", None, "later"),
            (429, "too many requests", None, "later"),
            (500, "etcdserver: request timed out", None, "later"),
        ] {
            assert_eq!(reason(refused(code, message, details)), expected, "{message}");
        }
    }
}
