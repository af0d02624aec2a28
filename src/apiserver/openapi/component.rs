//! The components of a document: each kind, its list, and what all kinds share.
use serde_json::{Map, Value, json};

use super::OpenApiResource;
use crate::schema;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

/// References to the components of one kind.
pub(super) struct References {
    pub(super) object: String,
    pub(super) list: String,
    pub(super) scale: String,
}

/// Collects the components of a document.
pub(super) struct Components {
    group: String,
    version: String,
    schemas: Map<String, Value>,
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// `example.judge.v1.Widget` for a kind of `judge.example/v1`.
fn component_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<_> = group.split('.').filter(|part| !part.is_empty()).rev().collect();
    parts.extend([version, kind]);
    parts.join(".")
}

impl Components {
    pub(super) fn new(group: &str, version: &str) -> Self {
        let mut schemas: Map<String, Value> = schema::common_open_api();
        schemas.insert(
            format!("{META}.Patch"),
            json!({"type": "object", "description": "The difference to the object: of which kind, the content type says."}),
        );
        schemas.values_mut().for_each(wrap_references);
        Self { group: group.to_owned(), version: version.to_owned(), schemas }
    }

    /// Adds a kind with its list.
    pub(super) fn add(&mut self, resource: &OpenApiResource) -> References {
        let name = match resource.schema.get("definitions").and_then(Value::as_object) {
            Some(definitions) => self.add_built_in(resource, definitions),
            None => self.add_own(resource),
        };
        let list = format!("{name}List");
        self.schemas.insert(list.clone(), self.list_of(&resource.kind, &name));
        if resource.has_scale {
            self.schemas.entry(SCALE).or_insert_with(scale);
        }
        References { object: reference(&name), list: reference(&list), scale: reference(SCALE) }
    }

    fn add_built_in(&mut self, resource: &OpenApiResource, definitions: &Map<String, Value>) -> String {
        for (name, definition) in definitions {
            let mut definition = definition.clone();
            wrap_references(&mut definition);
            self.schemas.entry(name.as_str()).or_insert(definition);
        }
        let root = resource.schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
        let name = root.rsplit('/').next().unwrap_or_default().to_owned();
        let kinds = self.kinds(&resource.kind);
        if let Some(Value::Object(object)) = self.schemas.get_mut(&name) {
            object.insert("x-kubernetes-group-version-kind".to_owned(), kinds);
        }
        name
    }

    fn add_own(&mut self, resource: &OpenApiResource) -> String {
        let name = component_name(&self.group, &self.version, &resource.kind);
        let mut schema = resource.schema.as_object().cloned().unwrap_or_default();
        let properties = schema.entry("properties").or_insert_with(|| json!({}));
        if let Value::Object(properties) = properties {
            properties.extend(type_properties());
            properties
                .insert("metadata".to_owned(), reference_with(&format!("{META}.ObjectMeta"), "The object's name, labels and the like."));
        }
        schema.insert("x-kubernetes-group-version-kind".to_owned(), self.kinds(&resource.kind));
        self.schemas.insert(name.clone(), Value::Object(schema));
        name
    }

    fn list_of(&self, kind: &str, component: &str) -> Value {
        let mut properties = type_properties();
        properties.insert("metadata".to_owned(), reference_with(&format!("{META}.ListMeta"), "The list's revision, and where it goes on."));
        properties.insert(
            "items".to_owned(),
            json!({"type": "array", "items": {"$ref": reference(component)}, "description": "The objects, ordered by namespace and name."}),
        );
        json!({
            "type": "object",
            "description": format!("{kind}List is a list of {kind}."),
            "required": ["items"],
            "properties": properties,
            "x-kubernetes-group-version-kind": self.kinds(&format!("{kind}List")),
        })
    }

    fn kinds(&self, kind: &str) -> Value {
        json!([{"group": self.group, "version": self.version, "kind": kind}])
    }

    pub(super) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }
}

fn reference_with(name: &str, description: &str) -> Value {
    json!({"allOf": [{"$ref": reference(name)}], "description": description})
}

fn type_properties() -> Map<String, Value> {
    let mut properties = Map::new();
    let version = "The group and version of this representation of the object, such as `v1` or `apps/v1`.";
    properties.insert("apiVersion".to_owned(), json!({"type": "string", "description": version}));
    properties
        .insert("kind".to_owned(), json!({"type": "string", "description": "The kind of the object, in CamelCase. It cannot be changed."}));
    properties
}

/// `OpenAPI` ignores what stands beside a `$ref`: with more to say, the reference goes into an `allOf`.
fn wrap_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.len() > 1
                && let Some(target @ Value::String(_)) = fields.remove("$ref")
            {
                fields.insert("allOf".to_owned(), json!([{"$ref": target}]));
            }
            fields.values_mut().for_each(wrap_references);
        }
        Value::Array(items) => items.iter_mut().for_each(wrap_references),
        _ => {}
    }
}

fn scale() -> Value {
    let mut properties = type_properties();
    properties.insert("metadata".to_owned(), reference_with(&format!("{META}.ObjectMeta"), "The scaled object's."));
    let replicas = json!({"type": "integer", "format": "int32", "description": "How many replicas are wanted."});
    properties.insert("spec".to_owned(), json!({"type": "object", "properties": {"replicas": replicas}}));
    let replicas = json!({"type": "integer", "format": "int32", "description": "How many replicas there are."});
    let selector = json!({"type": "string", "description": "The label selector of what counts as a replica."});
    let status = json!({"type": "object", "required": ["replicas"], "properties": {"replicas": replicas, "selector": selector}});
    properties.insert("status".to_owned(), status);
    json!({
        "type": "object",
        "description": "Scale is a request to change the number of replicas.",
        "properties": properties,
        "x-kubernetes-group-version-kind": [{"group": "autoscaling", "version": "v1", "kind": "Scale"}],
    })
}
