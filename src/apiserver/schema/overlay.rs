//! What k8s-openapi's schemas leave out: list types, merge keys and defaults of the built-in kinds.
use serde_json::{Map, Value, json};

const CORE: &str = "io.k8s.api.core.v1";
const DISCOVERY: &str = "io.k8s.api.discovery.v1";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// How a list is merged: by server-side apply, then by a strategic merge patch.
enum List {
    Set,
    /// Told apart by these keys; a strategic patch uses the first.
    Map(&'static [&'static str]),
}

const LISTS: [(&str, &str, &str, List); 9] = [
    (META, "ObjectMeta", "ownerReferences", List::Map(&["uid"])),
    (META, "ObjectMeta", "finalizers", List::Set),
    (CORE, "ServiceSpec", "ports", List::Map(&["port", "protocol"])),
    (CORE, "ServiceStatus", "conditions", List::Map(&["type"])),
    (CORE, "ServiceAccount", "secrets", List::Map(&["name"])),
    (CORE, "NamespaceStatus", "conditions", List::Map(&["type"])),
    (DISCOVERY, "Endpoint", "addresses", List::Set),
    (EXTENSIONS, "CustomResourceDefinitionStatus", "conditions", List::Map(&["type"])),
    (EXTENSIONS, "JSONSchemaProps", "x-kubernetes-validations", List::Map(&["rule"])),
];

/// Types that are one value to server-side apply.
const ATOMIC: [(&str, &str); 5] = [
    (META, "OwnerReference"),
    (META, "LabelSelector"),
    (CORE, "ObjectReference"),
    (CORE, "LocalObjectReference"),
    (DISCOVERY, "EndpointPort"),
];

/// Defaults that do not depend on other fields.
const DEFAULTS: [(&str, &str, &str, &str); 11] = [
    (CORE, "Secret", "type", r#""Opaque""#),
    (CORE, "ServicePort", "protocol", r#""TCP""#),
    (CORE, "ServiceSpec", "type", r#""ClusterIP""#),
    (CORE, "ServiceSpec", "sessionAffinity", r#""None""#),
    (DISCOVERY, "EndpointPort", "name", r#""""#),
    (DISCOVERY, "EndpointPort", "protocol", r#""TCP""#),
    (EXTENSIONS, "CustomResourceDefinitionSpec", "conversion", r#"{"strategy": "None"}"#),
    (EXTENSIONS, "ServiceReference", "port", "443"),
    (EXTENSIONS, "CustomResourceDefinitionStatus", "conditions", "[]"),
    (EXTENSIONS, "CustomResourceDefinitionStatus", "storedVersions", "[]"),
    (EXTENSIONS, "CustomResourceDefinitionStatus", "acceptedNames", r#"{"kind": "", "plural": ""}"#),
];

/// Values that are the only ones allowed.
const ENUMS: [(&str, &str, &str, &[&str]); 7] = [
    (CORE, "ServiceSpec", "type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    (CORE, "ServiceSpec", "sessionAffinity", &["ClientIP", "None"]),
    (CORE, "ServicePort", "protocol", &["SCTP", "TCP", "UDP"]),
    (DISCOVERY, "EndpointSlice", "addressType", &["FQDN", "IPv4", "IPv6"]),
    (DISCOVERY, "EndpointPort", "protocol", &["SCTP", "TCP", "UDP"]),
    (EXTENSIONS, "CustomResourceDefinitionSpec", "scope", &["Cluster", "Namespaced"]),
    (EXTENSIONS, "CustomResourceConversion", "strategy", &["None", "Webhook"]),
];

/// Completes the definitions in `OpenAPI`'s own terms, so that documents and nodes both have it.
pub(super) fn decorate(definitions: &mut Map<String, Value>) {
    for (group, kind, field, list) in &LISTS {
        let extra = match list {
            List::Set => json!({"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}),
            List::Map(keys) => json!({
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": keys,
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": keys.first(),
            }),
        };
        extend(definitions, group, kind, Some(field), extra);
    }
    for (group, kind) in ATOMIC {
        extend(definitions, group, kind, None, json!({"x-kubernetes-map-type": "atomic"}));
    }
    extend(definitions, CORE, "ServiceSpec", Some("selector"), json!({"x-kubernetes-map-type": "atomic"}));
    for (group, kind, field, default) in DEFAULTS {
        if let Ok(default) = serde_json::from_str::<Value>(default) {
            extend(definitions, group, kind, Some(field), json!({"default": default}));
        }
    }
    for (group, kind, field, allowed) in ENUMS {
        extend(definitions, group, kind, Some(field), json!({"enum": allowed}));
    }
}

fn extend(definitions: &mut Map<String, Value>, group: &str, kind: &str, field: Option<&str>, extra: Value) {
    let definition = definitions.get_mut(&format!("{group}.{kind}"));
    let place = match field {
        Some(field) => definition.and_then(|definition| definition.get_mut("properties")?.get_mut(field)),
        None => definition,
    };
    if let (Some(Value::Object(place)), Value::Object(extra)) = (place, extra) {
        place.extend(extra);
    }
}

/// Go writes an empty list as null: a list that is required may be absent for all that.
pub(super) fn without_lists_in_required(definitions: &mut Map<String, Value>) {
    for definition in definitions.values_mut() {
        let properties = definition.get("properties").cloned().unwrap_or_default();
        if let Some(Value::Array(required)) = definition.get_mut("required") {
            required.retain(|name| name.as_str().and_then(|name| properties.get(name)?.get("type")).is_none_or(|kind| kind != "array"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin_open_api;

    #[test]
    fn every_entry_names_a_field_that_there_is() {
        let kinds = [
            ("", "Namespace"),
            ("", "Secret"),
            ("", "Service"),
            ("", "ServiceAccount"),
            ("", "Event"),
            ("discovery.k8s.io", "EndpointSlice"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ];
        let mut all = Map::new();
        for (group, kind) in kinds {
            let schema = builtin_open_api(group, "v1", kind).expect("a built-in kind");
            all.extend(schema["definitions"].as_object().expect("definitions").clone());
        }
        let fields = LISTS.iter().map(|(group, kind, field, _)| (group, kind, field));
        let fields = fields.chain(DEFAULTS.iter().map(|(group, kind, field, _)| (group, kind, field)));
        for (group, kind, field) in fields.chain(ENUMS.iter().map(|(group, kind, field, _)| (group, kind, field))) {
            let definition = all.get(&format!("{group}.{kind}")).unwrap_or_else(|| panic!("{group}.{kind}"));
            assert!(definition["properties"].get(*field).is_some(), "{group}.{kind}.{field}");
        }
    }
}
