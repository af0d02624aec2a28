//! From a `MeshService` to its Deployment, Services, `PodDisruptionBudget` and `ServiceAccount`. Pure.
use std::net::SocketAddr;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};

use crate::{api::MeshService, plan::validate::Refusal};

/// What a cluster has that the objects depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Whom a pod that is to end asks whether its requests have ended; none: there is no router, and nothing is waited for.
    pub drain: Option<DrainHook>,
    /// A `HorizontalPodAutoscaler` has the Deployment: the number of replicas is its, and at least this.
    pub autoscaled: Option<i32>,
}

/// How a pod's end is held until routers have let it go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainHook {
    /// The routers' drain Service.
    pub address: SocketAddr,
    /// The image that has `/usr/local/bin/mesh-drain`.
    pub image: String,
}

/// What a service is made of in a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// Eight hexadecimal digits made from the pods' template.
    pub revision: String,
    /// Runs the pods.
    pub deployment: Deployment,
    /// Its names and addresses; none for a Worker without a port.
    pub services: Vec<Service>,
    /// How many pods may be taken away at once; none for a single one.
    pub budget: Option<PodDisruptionBudget>,
    /// Who the pods are; none if the pod template names another.
    pub account: Option<ServiceAccount>,
}

/// The objects of a service.
///
/// # Errors
/// What the spec asks for and a cluster cannot do, or a pod template that breaks a promise.
pub fn objects(_service: &MeshService, _around: &Surroundings) -> Result<Objects, Refusal> {
    todo!("render")
}
