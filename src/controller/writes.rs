//! Writes that several drivers make in the same way.
use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Error, api};
use mesh_api::{GROUP, VERSION, labels};

/// Deletes an object; one that is gone already is no error.
pub(super) async fn delete<K>(objects: &Api<K>, name: &str, params: &DeleteParams, act: &'static str) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    match objects.delete(name, params).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result.map(drop).map_err(api(act)),
    }
}

/// Makes an object; one of its name that is there already stands for it.
pub(super) async fn create_or_get<K>(objects: &Api<K>, object: &K, act: &'static str) -> Result<K, Error>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    match objects.create(&PostParams::default(), object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => objects.get(&object.name_any()).await.map_err(api(act)),
        made => made.map_err(api(act)),
    }
}

/// Which state of an object a status is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// The object, whatever was written to it meanwhile.
    Object,
    /// This very revision of it: where it has another by now, that is an error.
    Revision,
}

/// Applies the status of one of our objects; false if that is gone, or made anew under the same name: nobody reads this one's status any more.
pub(super) async fn apply_status<K>(
    client: &Client,
    object: &K,
    about: About,
    status: &impl Serialize,
    act: &'static str,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let name = object.name_any();
    let resource_version = object.resource_version().filter(|_| about == About::Revision);
    let metadata = ObjectMeta { name: Some(name.clone()), uid: object.uid(), resource_version, ..ObjectMeta::default() };
    let body = json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": K::kind(&()), "metadata": metadata, "status": status });
    let objects: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let params = PatchParams::apply(labels::STATUS_MANAGER).force();
    match objects.patch_status(&name, &params, &Patch::Apply(&body)).await {
        Err(kube::Error::Api(status)) if status.code == 404 || (status.code == 409 && about == About::Object) => Ok(false),
        result => result.map(|_| true).map_err(api(act)),
    }
}
