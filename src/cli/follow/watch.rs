//! Which instances there are, as they come and go: one stream over the kinds that the API has.
use futures::{StreamExt, future::ready, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;

use super::Which;
use crate::{
    exit::{Code, Failure, Result},
    instance::{Instance, api, has, mesh, pod, pods_of},
};
use mesh_api::{MeshInstance, labels::SERVICE};

/// Something about an instance.
pub(super) enum Seen {
    /// It is there.
    There {
        /// What it is.
        instance: Box<Instance>,
        /// It was not there when the watch began, unless it was seen before.
        new: bool,
    },
    /// The one of this uid is gone.
    Gone(Option<String>),
}

type Events = BoxStream<'static, Result<Seen, watcher::Error>>;

/// The instances of both kinds. Which kinds there are is asked once.
pub(super) async fn events(client: &Client, namespace: Option<&str>, which: &Which) -> Result<Events> {
    let (meshes, pods) = (api::<MeshInstance>(client, namespace), api::<Pod>(client, namespace));
    let mut streams: Vec<Events> = Vec::new();
    if has(&meshes, &[403, 404]).await? {
        streams.push(of_kind(meshes, of_meshes(which), mesh::instance));
    }
    if has(&pods, &[404]).await? {
        streams.push(of_kind(pods, of_pods(which), pod::instance));
    }
    if streams.is_empty() {
        return Err(Failure::new(Code::Failed, "this API has neither MeshInstances nor pods: there is nothing to follow"));
    }
    Ok(Box::pin(futures::stream::select_all(streams)))
}

fn of_meshes(which: &Which) -> watcher::Config {
    match which {
        Which::All => watcher::Config::default(),
        Which::Service(name) => watcher::Config::default().labels(&format!("{SERVICE}={name}")),
        Which::Instance(id) => watcher::Config::default().fields(&format!("metadata.name={id}")),
    }
}

fn of_pods(which: &Which) -> watcher::Config {
    match which {
        Which::All => watcher::Config::default().labels(&pods_of(None)),
        Which::Service(name) => watcher::Config::default().labels(&pods_of(Some(name))),
        Which::Instance(id) => watcher::Config::default().fields(&format!("metadata.name={id}")),
    }
}

fn of_kind<K>(api: Api<K>, config: watcher::Config, read: fn(&K) -> Instance) -> Events
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let seen = move |event| match event {
        Ok(watcher::Event::InitApply(object)) => Some(Ok(Seen::There { instance: Box::new(read(&object)), new: false })),
        Ok(watcher::Event::Apply(object)) => Some(Ok(Seen::There { instance: Box::new(read(&object)), new: true })),
        Ok(watcher::Event::Delete(object)) => Some(Ok(Seen::Gone(object.uid()))),
        Ok(watcher::Event::Init | watcher::Event::InitDone) => None,
        Err(error) => Some(Err(error)),
    };
    watcher(api, config).default_backoff().filter_map(move |event| ready(seen(event))).boxed()
}
