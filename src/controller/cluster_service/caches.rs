//! All that a reconcile reads: one watch for each kind, cut down to what is read.
use std::{collections::BTreeMap, pin::Pin};

use futures::{Stream, stream::select_all};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus},
        autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec},
        batch::v1::Job,
        core::v1::{ContainerStatus, Pod, PodStatus, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{reflector::Store, watcher},
};

use super::cache::{Cache, Changed, Group, Kept, watched};
use mesh_api::{MeshService, labels};
use mesh_plan::routes;

/// How many kinds are watched: that many caches have to be complete before anything is decided.
pub(super) const KINDS: usize = 9;

/// What is known of the cluster.
#[derive(Clone)]
pub(super) struct Caches {
    /// All MeshServices; the driver's own.
    pub(super) services: Store<MeshService>,
    pub(super) deployments: Cache<Deployment>,
    /// All of the cluster: one that is in the way has none of our labels, and neither has a headless one.
    pub(super) addresses: Cache<Service>,
    pub(super) budgets: Cache<PodDisruptionBudget>,
    pub(super) accounts: Cache<ServiceAccount>,
    pub(super) autoscalers: Cache<HorizontalPodAutoscaler>,
    pub(super) pods: Cache<Pod>,
    pub(super) slices: Cache<EndpointSlice>,
}

/// What changed, kind after kind.
pub(super) type Changes = Pin<Box<dyn Stream<Item = Changed> + Send>>;

/// Where a change of the MeshServices themselves is told of: their cache is the driver's.
pub(super) struct Main {
    pub(super) services: Store<MeshService>,
    pub(super) changes: Changes,
}

/// Opens the watches. They go on while the stream is polled.
pub(super) fn open(client: &Client, main: Main, router: Option<Group>) -> (Caches, Changes) {
    let Main { services, changes } = main;
    let (deployments, of_deployments) = watched(Api::all(client.clone()), kept(ours(), trim_deployment, by_name), |_| {}, nobody);
    let all = services.clone();
    // The routers' drain Service is in the template of every pod.
    let everybody = move |old: Option<&Service>, new: Option<&Service>| {
        let is_router = old.or(new).zip(router.as_ref()).is_some_and(|(service, router)| own_key(service) == *router);
        if is_router { all.state().iter().map(|service| own_key(&**service)).collect() } else { Vec::new() }
    };
    let (addresses, of_addresses) =
        watched(Api::all(client.clone()), kept(watcher::Config::default(), trim_service, of_service), |_| {}, everybody);
    let (budgets, of_budgets) = watched(Api::all(client.clone()), kept(ours(), trim_budget, by_name), |_| {}, nobody);
    let (accounts, of_accounts) = watched(Api::all(client.clone()), kept(ours(), trim_account, by_name), |_| {}, nobody);
    let autoscaling = kept(watcher::Config::default(), trim_autoscaler, of_autoscaler);
    let (autoscalers, of_autoscalers) = watched(Api::all(client.clone()), autoscaling, |_| {}, nobody);
    let (pods, of_pods) = watched(Api::all(client.clone()), kept(ours_of_services(), trim_pod, of_pod), |_| {}, nobody);
    // Nothing is read of them: their end is looked at live.
    let awaited = kept(watcher::Config::default().labels(labels::BEFORE), trim_job, of_job);
    let (_, of_jobs) = watched(Api::all(client.clone()), awaited, |_| {}, nobody);
    let (slices, of_slices) = watched(Api::all(client.clone()), kept(ours(), trim_slice, of_slice), |_| {}, nobody);
    let caches = Caches { services, deployments, addresses, budgets, accounts, autoscalers, pods, slices };
    let streams: [Changes; KINDS] = [
        changes,
        Box::pin(of_deployments),
        Box::pin(of_addresses),
        Box::pin(of_budgets),
        Box::pin(of_accounts),
        Box::pin(of_autoscalers),
        Box::pin(of_pods),
        Box::pin(of_slices),
        Box::pin(of_jobs),
    ];
    (caches, Box::pin(select_all(streams)))
}

fn kept<K>(which: watcher::Config, trim: fn(&mut K), groups: fn(&K) -> Vec<Group>) -> Kept<K> {
    Kept { which, trim, groups }
}

/// What this controller has made, and what a cluster has made of it.
fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", labels::APP_MANAGED_BY, labels::MANAGER))
}

/// The same without the runs of tasks.
fn ours_of_services() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={},{}", labels::APP_MANAGED_BY, labels::MANAGER, labels::SERVICE))
}

fn nobody<K>(_: Option<&K>, _: Option<&K>) -> Vec<Group> {
    Vec::new()
}

/// The object's own namespace and name.
pub(super) fn own_key<K: Resource<DynamicType = ()>>(object: &K) -> Group {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The services whose routes a change of this one may free or take.
pub(super) fn rivals(all: &Store<MeshService>, old: Option<&MeshService>, new: Option<&MeshService>) -> Vec<Group> {
    let claims = |service: Option<&MeshService>| {
        let lives = service.filter(|service| service.metadata.deletion_timestamp.is_none());
        lives.map(|service| routes::claims(&service.spec)).unwrap_or_default()
    };
    let (before, after) = (claims(old), claims(new));
    if before == after {
        return Vec::new();
    }
    let moved = [before, after].concat();
    all.state().iter().filter(|other| routes::concerns(other, &moved)).map(|other| own_key(&**other)).collect()
}

fn by_name<K: Resource<DynamicType = ()>>(object: &K) -> Vec<Group> {
    vec![own_key(object)]
}

/// A Service may be the one of a service of its name, or the headless one of another.
fn of_service(service: &Service) -> Vec<Group> {
    let (namespace, name) = own_key(service);
    let headless = name.strip_suffix("-headless").map(|stem| (namespace.clone(), stem.to_owned()));
    [(namespace, name)].into_iter().chain(headless).collect()
}

fn of_autoscaler(autoscaler: &HorizontalPodAutoscaler) -> Vec<Group> {
    let target = &autoscaler.spec.scale_target_ref;
    if target.kind != "Deployment" {
        return Vec::new();
    }
    vec![(autoscaler.namespace().unwrap_or_default(), target.name.clone())]
}

fn of_pod(pod: &Pod) -> Vec<Group> {
    labelled(pod, labels::SERVICE)
}

/// A Job that a new revision of a service waits for.
fn of_job(job: &Job) -> Vec<Group> {
    labelled(job, labels::BEFORE)
}

fn of_slice(slice: &EndpointSlice) -> Vec<Group> {
    labelled(slice, labels::SLICE_SERVICE)
}

fn labelled<K: Resource<DynamicType = ()>>(object: &K, label: &str) -> Vec<Group> {
    object.labels().get(label).map(|name| (object.namespace().unwrap_or_default(), name.clone())).into_iter().collect()
}

/// Of a service, who wrote it when is asked for; not what.
pub(super) fn trim_mesh_service(service: &mut MeshService) {
    let writers = service.metadata.managed_fields.take().unwrap_or_default();
    trim_meta(service);
    service.metadata.managed_fields = Some(writers.into_iter().map(|writer| ManagedFieldsEntry { fields_v1: None, ..writer }).collect());
}

/// What no kind is asked for: who wrote which field, and kubectl's own copy of the object.
fn trim_meta<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
    if let Some(annotations) = &mut object.meta_mut().annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

fn trim_deployment(deployment: &mut Deployment) {
    trim_meta(deployment);
    let Some(status) = deployment.status.take() else { return };
    let conditions = status.conditions.map(|conditions| {
        let telling = conditions.into_iter().filter(|c| matches!(c.type_.as_deref(), Some("ReplicaFailure" | "Progressing")));
        telling
            .map(|c| k8s_openapi::api::apps::v1::DeploymentCondition { last_update_time: None, last_transition_time: None, ..c })
            .collect()
    });
    deployment.status =
        Some(DeploymentStatus { conditions, observed_generation: status.observed_generation, ..DeploymentStatus::default() });
}

fn trim_service(service: &mut Service) {
    trim_meta(service);
    service.status = None;
    // Of those that are not ours, only the name and the address are read.
    if !service.owner_references().iter().any(|owner| owner.kind == MeshService::kind(&())) {
        (service.metadata.labels, service.metadata.annotations) = (None, None);
    }
}

fn trim_budget(budget: &mut PodDisruptionBudget) {
    trim_meta(budget);
    budget.status = None;
}

fn trim_account(account: &mut ServiceAccount) {
    trim_meta(account);
}

fn trim_autoscaler(autoscaler: &mut HorizontalPodAutoscaler) {
    trim_meta(autoscaler);
    autoscaler.metadata.annotations = None;
    autoscaler.status = None;
    let HorizontalPodAutoscalerSpec { scale_target_ref, min_replicas, max_replicas, .. } = std::mem::take(&mut autoscaler.spec);
    autoscaler.spec =
        HorizontalPodAutoscalerSpec { scale_target_ref, min_replicas, max_replicas, ..HorizontalPodAutoscalerSpec::default() };
}

fn trim_pod(pod: &mut Pod) {
    let meta = std::mem::take(&mut pod.metadata);
    let is_read = |(key, _): &(String, String)| key == labels::SERVICE || key == labels::REVISION;
    pod.metadata.labels = meta.labels.map(|labels| labels.into_iter().filter(is_read).collect::<BTreeMap<_, _>>());
    (pod.metadata.name, pod.metadata.namespace, pod.metadata.uid) = (meta.name, meta.namespace, meta.uid);
    (pod.metadata.creation_timestamp, pod.metadata.deletion_timestamp) = (meta.creation_timestamp, meta.deletion_timestamp);
    pod.metadata.deletion_grace_period_seconds = meta.deletion_grace_period_seconds;
    pod.spec = None;
    let Some(status) = pod.status.take() else { return };
    let mut conditions = status.conditions.unwrap_or_default();
    conditions.retain(|c| c.type_ == "Ready" || c.type_ == "PodScheduled");
    pod.status = Some(PodStatus {
        phase: status.phase,
        conditions: Some(conditions),
        container_statuses: status.container_statuses.map(trim_containers),
        init_container_statuses: status.init_container_statuses.map(trim_containers),
        ..PodStatus::default()
    });
}

fn trim_job(job: &mut Job) {
    trim_meta(job);
    job.spec = None;
}

fn trim_containers(containers: Vec<ContainerStatus>) -> Vec<ContainerStatus> {
    let trim = |c: ContainerStatus| ContainerStatus {
        name: c.name,
        image: c.image,
        ready: c.ready,
        started: c.started,
        restart_count: c.restart_count,
        state: c.state,
        last_state: c.last_state,
        ..ContainerStatus::default()
    };
    containers.into_iter().map(trim).collect()
}

fn trim_slice(slice: &mut EndpointSlice) {
    trim_meta(slice);
    (slice.metadata.annotations, slice.metadata.owner_references, slice.ports) = (None, None, None);
    for endpoint in slice.endpoints.iter_mut().flatten() {
        (endpoint.addresses, endpoint.zone, endpoint.node_name, endpoint.hints) = (Vec::new(), None, None, None);
    }
}
