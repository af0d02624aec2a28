//! Where the objects of a document's kind live in the API, or that it has no such kind.
use kube::{
    Api, Client,
    api::DynamicObject,
    core::ApiResource,
    discovery::{self, Scope},
};

use super::{
    exit::{Code, Failure, Result},
    manifest::{Document, meant::kind},
    target::Connection,
};

/// Where objects of a document's kind live.
pub async fn api_of(connection: &Connection, document: &Document) -> Result<(Api<DynamicObject>, ApiResource)> {
    let found = discovery::pinned_kind(&connection.client, &document.gvk).await;
    let (resource, capabilities) = found.map_err(|error| unknown_kind(document, error))?;
    let namespace = document.object.metadata.namespace.as_deref().unwrap_or(&connection.namespace);
    Ok((api(&connection.client, &resource, &capabilities.scope, namespace), resource))
}

fn api(client: &Client, resource: &ApiResource, scope: &Scope, namespace: &str) -> Api<DynamicObject> {
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, resource),
    }
}

fn unknown_kind(document: &Document, error: kube::Error) -> Failure {
    let missing = match &error {
        kube::Error::Discovery(_) => true,
        kube::Error::Api(status) => status.code == 404,
        _ => false,
    };
    if !missing {
        return Failure::from(error);
    }
    let meant = kind(&document.gvk);
    let text = format!("{}: the API has no kind {} in {}{meant}", document.place(), document.gvk.kind, document.gvk.api_version());
    Failure::new(Code::Invalid, text)
}
