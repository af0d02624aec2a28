//! Keeps the `EndpointSlice` of each instance: the one thing that routers learn of it. Deletion is the garbage collector's, by owner.
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
    runtime::{
        controller::{Action, Config},
        watcher,
    },
};

use super::{Error, Reconciles, api, drive, error_policy, of_instances, our_slices};
use mesh_api::{MeshInstance, labels};
use mesh_kit::{clock, shutdown::Triggered};
use mesh_plan::endpoints::{same, slice};

/// Runs until shutdown.
///
/// # Errors
/// None that is not retried.
pub fn run(client: Client, reconciles: Reconciles, shutdown: Triggered) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        // A slice that somebody else changed or deleted is made right again.
        let slices: Api<PartialObjectMeta<EndpointSlice>> = Api::all(client.clone());
        let stream = of_instances(Api::all(client.clone()), watcher::Config::default())
            .with_config(Config::default().concurrency(16))
            .owns(slices, watcher::Config::default().labels(&our_slices()))
            .graceful_shutdown_on(shutdown)
            .run(reconcile, error_policy, Arc::new(client));
        drive("endpoints", stream, std::future::pending(), &reconciles).await
    })
}

async fn reconcile(instance: Arc<MeshInstance>, client: Arc<Client>) -> Result<Action, Error> {
    let Some(wanted) = slice(&instance, clock::now()) else { return Ok(Action::await_change()) };
    let slices: Api<EndpointSlice> = Api::namespaced((*client).clone(), &instance.namespace().unwrap_or_default());
    let name = instance.name_any();
    let found = slices.get_opt(&name).await.map_err(api("read EndpointSlice"))?;
    if found.is_none() && instance.finalizers().is_empty() && instance.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if !found.is_some_and(|found| same(&found, &wanted)) {
        let params = PatchParams::apply(labels::FIELD_MANAGER).force();
        match slices.patch(&name, &params, &Patch::Apply(&wanted)).await {
            // Its namespace is being deleted, and the slice went first: the routers know as much already.
            Err(kube::Error::Api(status)) if status.code == 403 && instance.metadata.deletion_timestamp.is_some() => {}
            result => drop(result.map_err(api("apply EndpointSlice"))?),
        }
    }
    Ok(Action::await_change())
}
