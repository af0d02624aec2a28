//! What the API refuses a controller or router, in words for a person: the verb, the resource, the remedy. Pure.
use kube::core::Status;

/// What a person has to do about a refusal; none if waiting will do.
pub fn remedy(status: &Status, verb: &str, resource: &str, namespace: Option<&str>) -> Option<String> {
    let place = namespace.map_or_else(|| "all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
    match status.code {
        401 => Some("the API does not know its credentials (the token or certificate has expired, or is of another cluster)".to_owned()),
        403 => Some(format!(
            "it may not {verb} {resource} in {place}: give its ServiceAccount a rule for that (deploy/rbac, or the chart with rbac.create=true)"
        )),
        404 if !is_built_in(resource) => Some(format!(
            "the API does not know {resource}: install the CustomResourceDefinitions (mesh-controller crd | kubectl apply --server-side -f -)"
        )),
        404 => Some(format!("the API does not know {resource}: it is no Kubernetes API of 1.31 or later")),
        _ => None,
    }
}

/// Whether every Kubernetes has it: its group has no dot, or is one of Kubernetes' own.
fn is_built_in(resource: &str) -> bool {
    resource.split_once('.').is_none_or(|(_, group)| !group.contains('.') || group.ends_with(".k8s.io"))
}

/// An error with its causes.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_verb_the_resource_and_the_remedy() {
        let said = |code, resource: &str, namespace| {
            remedy(&Status { code, ..Status::default() }, "list", resource, namespace).unwrap_or_default()
        };
        for (text, parts) in [
            (
                said(403, "endpointslices.discovery.k8s.io", None),
                &["may not list endpointslices.discovery.k8s.io in all namespaces", "rbac"][..],
            ),
            (said(403, "secrets", Some("mesh")), &["may not list secrets in namespace mesh"]),
            (
                said(404, "meshrouters.mesh-controller.dev", Some("mesh")),
                &["does not know meshrouters.mesh-controller.dev", "mesh-controller crd |"],
            ),
            (said(404, "endpointslices.discovery.k8s.io", None), &["1.31"]),
            (said(401, "secrets", None), &["credentials"]),
            (said(500, "secrets", None), &[""]),
        ] {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}\nhas not all of\n{parts:?}");
        }
    }
}
