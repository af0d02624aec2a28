//! What the author of a manifest may have meant by a kind or a field that does not exist, from the definitions of our own kinds.
use kube::core::GroupVersionKind;
use serde_json::Value;

use mesh_api::crds;
use mesh_kit::meant::did_you_mean;

/// Kinds of Kubernetes that the embedded API has as well, beside our own.
const KINDS: [&str; 5] = ["ConfigMap", "Secret", "Service", "Namespace", "CustomResourceDefinition"];

/// `; did you mean "MeshService"?` for a kind that the API does not have.
pub(crate) fn kind(gvk: &GroupVersionKind) -> String {
    let own: Vec<String> = crds::all().into_iter().map(|crd| crd.spec.names.kind).collect();
    did_you_mean(&gvk.kind, own.iter().map(String::as_str).chain(KINDS))
}

/// `; did you mean "spec.replicas"?` for a field (`spec.replcas`) that a kind does not have. Nothing for kinds that are not ours.
pub(super) fn field(gvk: &GroupVersionKind, path: &str) -> String {
    let Some(schema) = schema(gvk) else { return String::new() };
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let Some(names) = names(&schema, parent) else { return String::new() };
    let whole: Vec<String> =
        names.iter().map(|known| if parent.is_empty() { known.clone() } else { format!("{parent}.{known}") }).collect();
    // The paths are equal up to their last name, which is what is compared.
    let meant = mesh_kit::meant::meant(name, names.iter().map(String::as_str));
    let meant = meant.and_then(|meant| whole.iter().find(|whole| whole.rsplit('.').next() == Some(meant)));
    meant.map(|path| format!("; did you mean {path:?}?")).unwrap_or_default()
}

/// The schema of a kind of ours.
fn schema(gvk: &GroupVersionKind) -> Option<Value> {
    let crd = crds::all().into_iter().find(|crd| crd.spec.group == gvk.group && crd.spec.names.kind == gvk.kind)?;
    let version = crd.spec.versions.into_iter().find(|version| version.name == gvk.version)?;
    serde_json::to_value(version.schema?.open_api_v3_schema?).ok()
}

/// The fields below a path.
fn names(schema: &Value, path: &str) -> Option<Vec<String>> {
    let mut at = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, indices) = step.split_once('[').map_or((step, 0), |(name, rest)| (name, 1 + rest.matches('[').count()));
        at = at.get("properties")?.get(name)?;
        for _ in 0..indices {
            at = at.get("items")?;
        }
    }
    Some(at.get("properties")?.as_object()?.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_field_or_kind_is_told_with_the_one_that_is_meant() {
        let service = GroupVersionKind::gvk("mesh-controller.dev", "v1alpha1", "MeshService");
        for (path, expected) in [
            ("spec.replcas", "; did you mean \"spec.replicas\"?"),
            ("spec.routes[0].hostname", "; did you mean \"spec.routes[0].hostnames\"?"),
            ("spec.readinessProbe.httpGet.pth", "; did you mean \"spec.readinessProbe.httpGet.path\"?"),
            ("sepc", "; did you mean \"spec\"?"),
            ("spec.zzzzzz", ""),
            ("spec.nosuch.deeper", ""),
        ] {
            assert_eq!(field(&service, path), expected, "{path}");
        }
        assert_eq!(field(&GroupVersionKind::gvk("", "v1", "ConfigMap"), "dta"), "");
        assert_eq!(kind(&GroupVersionKind::gvk("mesh-controller.dev", "v1alpha1", "MeshServce")), "; did you mean \"MeshService\"?");
        assert_eq!(kind(&GroupVersionKind::gvk("v1", "v1", "Deployment")), "");
    }
}
