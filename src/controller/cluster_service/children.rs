//! The objects that a service is made of in a cluster: what each should be, and what there is of it. Decides nothing.
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::ResourceExt;

use super::{caches::Caches, dereference::World};
use crate::children::{Child, child};
use mesh_api::MeshService;
use mesh_backend::kubernetes::render::Objects;

/// All of them, what others need first.
pub(super) fn children(service: &MeshService, objects: &Objects, caches: &Caches, world: &World) -> Vec<Child> {
    let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
    let headless = format!("{name}-headless");
    let services = [name.clone(), headless].into_iter().map(|name| {
        let wanted = objects.services.iter().find(|service| service.name_any() == name);
        let there = caches.addresses.get(&namespace, &name);
        child::<Service>(service, &name, wanted, there.as_deref())
    });
    let account = caches.accounts.get(&namespace, &name);
    let budget = caches.budgets.get(&namespace, &name);
    [child::<ServiceAccount>(service, &name, objects.account.as_ref(), account.as_deref())]
        .into_iter()
        .chain(services)
        .chain([
            child::<Deployment>(service, &name, Some(&objects.deployment), world.deployment.as_deref()),
            child::<PodDisruptionBudget>(service, &name, objects.budget.as_ref(), budget.as_deref()),
        ])
        .collect()
}
