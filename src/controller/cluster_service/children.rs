//! The objects that a service is made of in a cluster: what each should be, and what there is of it. Decides nothing.
use std::fmt::{self, Write};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{Resource, ResourceExt, api::ApiResource};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    caches::Caches,
    dereference::{World, is_of, value},
};
use mesh_api::{MeshService, labels};
use mesh_backend::kubernetes::render::Objects;

/// One of them.
pub(super) struct Child {
    pub(super) resource: ApiResource,
    pub(super) name: String,
    /// What it should be, with its hash; none: it should not be.
    pub(super) wanted: Option<Rendered>,
    /// What there is of the name, as the cache knows.
    pub(super) live: Option<Live>,
}

/// What an object should be.
pub(super) struct Rendered {
    /// With the hash as an annotation.
    pub(super) body: Value,
    pub(super) hash: String,
}

/// What there is.
pub(super) struct Live {
    pub(super) object: Value,
    pub(super) uid: Option<String>,
    pub(super) version: Option<String>,
    /// The service controls it.
    pub(super) is_ours: bool,
    pub(super) is_deleted: bool,
}

/// `Deployment web`
impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource.kind, self.name)
    }
}

impl Live {
    /// What an object says of itself.
    pub(super) fn of<K: Resource + serde::Serialize>(object: &K, service: &MeshService) -> Self {
        Self {
            object: value(object),
            uid: object.meta().uid.clone(),
            version: object.meta().resource_version.clone(),
            is_ours: is_of(object, service),
            is_deleted: object.meta().deletion_timestamp.is_some(),
        }
    }
}

/// All of them, what others need first.
pub(super) fn children(service: &MeshService, objects: &Objects, caches: &Caches, world: &World) -> Vec<Child> {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let live = LiveOf { service };
    let headless = format!("{name}-headless");
    let services = [name.clone(), headless].into_iter().map(|name| {
        let wanted = objects.services.iter().find(|service| service.name_any() == name);
        let there = caches.addresses.get(&namespace, &name);
        child::<Service>(&name, wanted, live.of(there.as_deref()))
    });
    let account = caches.accounts.get(&namespace, &name);
    let budget = caches.budgets.get(&namespace, &name);
    [child::<ServiceAccount>(&name, objects.account.as_ref(), live.of(account.as_deref()))]
        .into_iter()
        .chain(services)
        .chain([
            child::<Deployment>(&name, Some(&objects.deployment), live.of(world.deployment.as_deref())),
            child::<PodDisruptionBudget>(&name, objects.budget.as_ref(), live.of(budget.as_deref())),
        ])
        .collect()
}

struct LiveOf<'a> {
    service: &'a MeshService,
}

impl LiveOf<'_> {
    fn of<K: Resource + serde::Serialize>(&self, object: Option<&K>) -> Option<Live> {
        object.map(|object| Live::of(object, self.service))
    }
}

fn child<K: Resource<DynamicType = ()> + serde::Serialize>(name: &str, wanted: Option<&K>, live: Option<Live>) -> Child {
    Child { resource: ApiResource::erase::<K>(&()), name: name.to_owned(), wanted: wanted.map(|object| rendered(value(object))), live }
}

/// The hash of what was rendered.
pub(super) fn hash<K: serde::Serialize>(object: &K) -> String {
    let digest = Sha256::digest(value(object).to_string());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Hashes what was rendered, and writes the hash on it.
fn rendered(mut body: Value) -> Rendered {
    let hash = hash(&body);
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(labels::RENDERED.to_owned(), json!(hash));
        }
    }
    Rendered { body, hash }
}
