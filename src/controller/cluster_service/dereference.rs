//! Looks up what a reconcile needs to know, in the caches only.
use std::{net::SocketAddr, sync::Arc};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::ResourceExt;

use super::{
    Options,
    caches::{Caches, own_key},
};
use crate::children::is_of;
use mesh_api::MeshService;
use mesh_backend::kubernetes::render::{DrainHook, Surroundings, has_door, installed_hook};
use mesh_plan::routes::{self, Claim};

/// What was found.
pub(super) struct World {
    /// What the objects depend on.
    pub(super) around: Surroundings,
    /// The Deployment of the service's name, whoever owns it.
    pub(super) deployment: Option<Arc<Deployment>>,
    /// The pods with the service's label.
    pub(super) pods: Vec<Arc<Pod>>,
    /// The slices of its Service.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
    /// Pods are to have a drain hook, if there are routers.
    hooks_wanted: bool,
    /// A claim that an older service has, and that service's name.
    pub(super) conflict: Option<(Claim, String)>,
}

impl World {
    /// What the mesh gives the pods of the Deployment that is there, where that may stay and is not what new pods would get.
    pub(super) fn kept(&self, service: &MeshService) -> Option<Surroundings> {
        let deployment = self.deployment.as_deref().filter(|deployment| is_of(*deployment, service))?;
        let drain = self.kept_hook(deployment).or_else(|| self.around.drain.clone());
        let door = self.around.door.clone().filter(|_| has_door(deployment));
        let kept = Surroundings { drain, door, ..self.around };
        (kept != self.around).then_some(kept)
    }

    /// The drain hook that the pods have, where it may stay: it is not the one that new pods would get, and asks where the routers are, as far as is known.
    fn kept_hook(&self, deployment: &Deployment) -> Option<DrainHook> {
        let hook = installed_hook(deployment)?;
        let stays = match &self.around.drain {
            Some(now) => now.address == hook.address && now.image != hook.image,
            None => self.hooks_wanted,
        };
        stays.then_some(hook)
    }
}

pub(super) fn dereference(caches: &Caches, options: &Options, service: &MeshService) -> World {
    let group = own_key(service);
    let scaler = caches.autoscalers.of(&group).into_iter().next();
    let autoscaled = scaler.map(|scaler| scaler.spec.min_replicas.unwrap_or(1));
    World {
        around: Surroundings { drain: drain(caches, options), door: options.door.clone(), autoscaled },
        deployment: caches.deployments.get(&group.0, &group.1),
        hooks_wanted: options.drain_image.is_some() && options.router_service.is_some(),
        pods: caches.pods.of(&group),
        slices: caches.slices.of(&group),
        conflict: conflict(caches, service),
    }
}

/// Where the routers are asked, if there are any.
fn drain(caches: &Caches, options: &Options) -> Option<DrainHook> {
    let image = options.drain_image.clone()?;
    let (namespace, name) = options.router_service.as_ref()?;
    let address = address(&*caches.addresses.get(namespace, name)?)?;
    Some(DrainHook { address, image })
}

/// A Service's own address, with its port `drain`, or the only one.
fn address(service: &Service) -> Option<SocketAddr> {
    let spec = service.spec.as_ref()?;
    let ports = spec.ports.as_ref()?;
    let port = ports.iter().find(|port| port.name.as_deref() == Some("drain")).or(ports.first())?.port;
    Some(SocketAddr::new(spec.cluster_ip.as_ref()?.parse().ok()?, u16::try_from(port).ok()?))
}

fn conflict(caches: &Caches, service: &MeshService) -> Option<(Claim, String)> {
    if routes::claims(&service.spec).is_empty() {
        return None;
    }
    let all = caches.services.state();
    let (claim, other) = routes::conflict(service, all.iter().map(|other| &**other))?;
    Some((claim, format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any())))
}
