//! Keeps what an API of our own cannot work without: the definitions of our kinds, the system namespace, the default router and its keys. Whoever
//! takes one away gets it made again. What was in it comes from those who write it: Leases are renewed, a router's settings are the defaults again.
use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt, runtime::watcher::Config};

use super::{
    Error,
    absences::absences,
    bootstrap::{COOKIE_KEYS, bootstrap},
};
use mesh_api::{MeshRouter, crds, labels};
use mesh_kit::{backoff::Backoff, shutdown::Triggered};

const WHO: &str = "system";
/// What goes may take a while to be gone, and is made again only then.
const AGAIN: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(5) };

/// Runs until shutdown.
///
/// # Errors
/// None that is not retried.
pub fn run(client: Client, shutdown: Triggered) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let keeping = pin!(keep(&client));
        let end = pin!(shutdown);
        futures::future::select(keeping, end).await;
        Ok(())
    })
}

async fn keep(client: &Client) {
    let one = |name: &str| (Config::default().fields(&format!("metadata.name={name}")), BTreeSet::from([name.to_owned()]));
    let (namespace, of_namespace) = one(labels::SYSTEM_NAMESPACE);
    let (router, of_router) = one(labels::DEFAULT_ROUTER);
    let (keys, of_keys) = one(COOKIE_KEYS);
    let definitions = crds::all().iter().map(ResourceExt::name_any).collect();
    let mut gone = stream::select_all([
        absences::<CustomResourceDefinition>(Api::all(client.clone()), Config::default(), definitions, WHO),
        absences::<Namespace>(Api::all(client.clone()), namespace, of_namespace, WHO),
        absences::<MeshRouter>(Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE), router, of_router, WHO),
        absences::<Secret>(Api::namespaced(client.clone(), labels::SYSTEM_NAMESPACE), keys, of_keys, WHO),
    ]);
    while gone.next().await.is_some() {
        tracing::warn!(
            "something that the controllers rely on was removed (definitions, {}, its router or keys); it is made again",
            labels::SYSTEM_NAMESPACE
        );
        make(client).await;
    }
}

/// Makes what is missing, however often it takes: a namespace that is being removed takes nothing new, and its name is free only at the end.
async fn make(client: &Client) {
    let mut failures = 0;
    while let Err(error) = bootstrap(client).await {
        failures += 1;
        if failures == 1 {
            tracing::warn!(%error, "it cannot be made yet; it is tried again");
        }
        tokio::time::sleep(AGAIN.delay(failures, rand::random())).await;
    }
}
