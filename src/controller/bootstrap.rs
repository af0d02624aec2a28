//! What a fresh API needs before the controllers start: the CRDs, the system namespace, the default router and its cookie key.
//! In a cluster the first two come with the manifests, and the leader makes the rest.
use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Error, api};
use mesh_api::{MeshRouter, MeshRouterSpec, crds, env::ObjectRef, labels};

/// The Secret with the default router's cookie keys.
pub(crate) const COOKIE_KEYS: &str = "mesh-router-cookie-keys";

/// Makes what is missing in an API of our own; what a user has changed stays.
///
/// # Errors
/// What the API said.
pub async fn bootstrap(client: &Client) -> Result<(), Error> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply(labels::FIELD_MANAGER).force();
    for crd in crds::all() {
        definitions.patch(&crd.name_any(), &params, &Patch::Apply(&crd)).await.map_err(api("apply CustomResourceDefinition"))?;
    }
    let namespace = Namespace { metadata: named(labels::SYSTEM_NAMESPACE), ..Namespace::default() };
    create_missing(&Api::all(client.clone()), &namespace, "create namespace mesh-system").await?;
    router(client, labels::SYSTEM_NAMESPACE).await
}

/// Makes the default router and its cookie keys in the system namespace, if they are missing; what a user has changed stays.
///
/// # Errors
/// What the API said.
pub async fn router(client: &Client, namespace: &str) -> Result<(), Error> {
    let key: [u8; 32] = rand::random();
    let keys = Secret {
        metadata: named(COOKIE_KEYS),
        data: Some(BTreeMap::from([("k1".to_owned(), ByteString(key.to_vec()))])),
        type_: Some("mesh-controller.dev/cookie-keys".to_owned()),
        ..Secret::default()
    };
    create_missing(&Api::namespaced(client.clone(), namespace), &keys, "create the cookie keys").await?;
    let spec = MeshRouterSpec { cookie_keys: Some(ObjectRef { name: COOKIE_KEYS.to_owned(), optional: false }), ..default_router_spec() };
    let router = MeshRouter::new(labels::DEFAULT_ROUTER, spec);
    create_missing(&Api::namespaced(client.clone(), namespace), &router, "create the default MeshRouter").await
}

/// The defaults as the schema has them.
fn default_router_spec() -> MeshRouterSpec {
    serde_json::from_value(serde_json::json!({})).unwrap_or_default()
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

async fn create_missing<K>(objects: &Api<K>, object: &K, act: &'static str) -> Result<(), Error>
where
    K: kube::Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
{
    if objects.get_opt(&object.name_any()).await.map_err(api(act))?.is_some() {
        return Ok(());
    }
    match objects.create(&PostParams::default(), object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(api(act)(error)),
    }
}
