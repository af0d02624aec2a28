//! The schemas of the built-in kinds: k8s-openapi's, read when first asked for and kept.
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use k8s_openapi::{
    api::{apps::v1 as apps, coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events},
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Status},
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    Inner, Schema,
    names::NameRule,
    node::Arena,
    overlay,
    structural::{self, Reader},
};

/// A built-in kind.
struct Kind {
    group: &'static str,
    version: &'static str,
    name: &'static str,
    names: NameRule,
    add: fn(&mut SchemaGenerator) -> schemars::Schema,
}

fn kind<T: JsonSchema>(group: &'static str, version: &'static str, name: &'static str) -> Kind {
    Kind { group, version, name, names: NameRule::Subdomain, add: SchemaGenerator::subschema_for::<T> }
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    vec![
        Kind { names: NameRule::Label, ..kind::<core::Namespace>("", "v1", "Namespace") },
        kind::<core::ConfigMap>("", "v1", "ConfigMap"),
        kind::<core::Secret>("", "v1", "Secret"),
        Kind { names: NameRule::Rfc1035, ..kind::<core::Service>("", "v1", "Service") },
        kind::<core::ServiceAccount>("", "v1", "ServiceAccount"),
        kind::<core::Event>("", "v1", "Event"),
        kind::<events::Event>("events.k8s.io", "v1", "Event"),
        kind::<discovery::EndpointSlice>("discovery.k8s.io", "v1", "EndpointSlice"),
        kind::<coordination::Lease>("coordination.k8s.io", "v1", "Lease"),
        kind::<apps::ControllerRevision>("apps", "v1", "ControllerRevision"),
        kind::<apiextensions::CustomResourceDefinition>("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    ]
});

static READ: LazyLock<Mutex<HashMap<(&'static str, &'static str), Schema>>> = LazyLock::new(Mutex::default);

fn find(group: &str, version: &str, name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| (kind.group, kind.version, kind.name) == (group, version, name))
}

/// The schema of a built-in kind.
pub(super) fn schema(group: &str, version: &str, name: &str) -> Option<Schema> {
    let kind = find(group, version, name)?;
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    Some(read.entry((kind.group, kind.name)).or_insert_with(|| build(kind)).clone())
}

fn build(kind: &Kind) -> Schema {
    let (root, mut definitions) = generate(kind.add);
    overlay::without_lists_in_required(&mut definitions);
    let mut reader = Reader::with_definitions(&definitions);
    reader.read_root(&root);
    let mut arena = reader.arena;
    structural::add_type_and_metadata(&mut arena);
    let status_subresource = matches!(kind.name, "Namespace" | "Service" | "CustomResourceDefinition");
    let inner = Inner { arena, metadata: None, rules: None, cost: 0, names: kind.names, builtin: Some(kind.name) };
    Schema { inner: Arc::new(inner), status_subresource }
}

/// `ObjectMeta` as a schema of its own; in the others it is a reference.
pub(super) fn object_meta() -> Arena {
    let (_, definitions) = generate(SchemaGenerator::subschema_for::<ObjectMeta>);
    let mut reader = Reader::with_definitions(&definitions);
    if let Some(schema) = definitions.get(&*ObjectMeta::schema_name()) {
        reader.read_root(schema);
    }
    reader.arena
}

fn generate(add: fn(&mut SchemaGenerator) -> schemars::Schema) -> (Value, Map<String, Value>) {
    let mut generator = SchemaSettings::openapi3().with(|settings| settings.transforms.clear()).into_generator();
    let root = Value::from(add(&mut generator));
    let mut definitions = generator.take_definitions(true);
    overlay::decorate(&mut definitions);
    (root, definitions)
}

/// The `OpenAPI` schema of a built-in kind for [`crate::openapi::document`]: `{"$ref": "#/components/schemas/…", "definitions": {…}}`.
pub fn open_api(group: &str, version: &str, name: &str) -> Option<Value> {
    let (root, definitions) = generate(find(group, version, name)?.add);
    Some(json!({"$ref": root.get("$ref")?, "definitions": definitions}))
}

/// The definitions that every document has: `ObjectMeta`, `ListMeta`, `DeleteOptions`, `Status` and what they refer to.
pub(crate) fn common_open_api() -> Map<String, Value> {
    let types: [fn(&mut SchemaGenerator) -> schemars::Schema; 4] = [
        SchemaGenerator::subschema_for::<ObjectMeta>,
        SchemaGenerator::subschema_for::<ListMeta>,
        SchemaGenerator::subschema_for::<DeleteOptions>,
        SchemaGenerator::subschema_for::<Status>,
    ];
    types.into_iter().flat_map(|add| generate(add).1).collect()
}
