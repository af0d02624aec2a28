//! The resources that a stored `CustomResourceDefinition` defines: one for each served version.
use serde_json::{Value, json};

use super::resource::{Behaviour, Resource, ScalePaths};
use crate::{object, schema::Schema, table::Columns};

/// Whether a definition's resources are served.
pub(crate) fn is_established(definition: &Value) -> bool {
    object::condition(definition, "Established").is_some_and(|condition| condition.get("status") == Some(&json!("True")))
}

/// The resources of a definition that is established, under the names that it was given; none of one that is malformed (which admission keeps
/// from being stored).
pub(super) fn resources(definition: &Value, revision: u64) -> Vec<Resource> {
    if !is_established(definition) {
        return Vec::new();
    }
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let served = versions.iter().filter(|version| version.get("served").and_then(Value::as_bool).unwrap_or(false));
    served.filter_map(|version| resource(definition, version, revision)).collect()
}

fn resource(definition: &Value, version: &Value, revision: u64) -> Option<Resource> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
    let names = |pointer: &str| {
        definition.pointer(pointer).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let schema = version.pointer("/schema/openAPIV3Schema")?;
    let has_status = version.pointer("/subresources/status").is_some();
    let schema = Schema::from_open_api(schema)
        .inspect_err(|errors| tracing::warn!(?errors, "a stored definition has a schema that cannot be used"))
        .ok()?;
    let (group, plural, kind) = (text("/spec/group")?, text("/status/acceptedNames/plural")?, text("/status/acceptedNames/kind")?);
    let is_storage = version.get("storage").and_then(Value::as_bool).unwrap_or(false);
    Some(Resource {
        group: group.to_owned(),
        version: version.get("name")?.as_str()?.to_owned(),
        kind: kind.to_owned(),
        list_kind: text("/status/acceptedNames/listKind").map_or_else(|| format!("{kind}List"), str::to_owned),
        plural: plural.to_owned(),
        singular: text("/status/acceptedNames/singular").map_or_else(|| kind.to_lowercase(), str::to_owned),
        short_names: names("/status/acceptedNames/shortNames"),
        categories: names("/status/acceptedNames/categories"),
        namespaced: text("/spec/scope") == Some("Namespaced"),
        has_status,
        scale: version.pointer("/subresources/scale").and_then(scale),
        selectable: selectable(version),
        columns: Columns::from_crd(version.get("additionalPrinterColumns").unwrap_or(&Value::Null)),
        schema: Some(schema.with_status_subresource(has_status)),
        generation: true,
        behaviour: Behaviour::Plain,
        storage: format!("{plural}.{group}").into(),
        convert: !is_storage,
        revision,
        definition: Some(text("/metadata/name")?.to_owned()),
        terminating: definition.pointer("/metadata/deletionTimestamp").is_some(),
    })
}

/// `.spec.replicas` as the JSON pointer `/spec/replicas`.
fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

fn scale(scale: &Value) -> Option<ScalePaths> {
    Some(ScalePaths {
        spec_replicas: pointer(scale.get("specReplicasPath")?.as_str()?),
        status_replicas: pointer(scale.get("statusReplicasPath")?.as_str()?),
        label_selector: scale.get("labelSelectorPath").and_then(Value::as_str).map(pointer),
    })
}

fn selectable(version: &Value) -> Vec<(String, String)> {
    let fields = version.get("selectableFields").and_then(Value::as_array).into_iter().flatten();
    let paths = fields.filter_map(|field| field.get("jsonPath").and_then(Value::as_str));
    paths.map(|path| (path.trim_start_matches('.').to_owned(), pointer(path))).collect()
}
