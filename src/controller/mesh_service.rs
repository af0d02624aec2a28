//! From a `MeshService` to its instances: dereference → validate → plan → apply → update_status.
mod apply;
pub(crate) mod before;
mod dereference;
mod update_status;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
        watcher,
    },
};

use self::{apply::End, dereference::World};
pub(super) use self::{apply::set_finalizer, update_status::publish_status};
use super::{Error, Reconciles, concerned, drive, error_policy, notes::Notes, our_slices};
use mesh_api::{MeshInstance, MeshNode, MeshService, MeshTask, labels, names};
use mesh_kit::shutdown::Triggered;
use mesh_plan::{
    endpoints::Announced,
    rollout::{self, Existing, Wanted},
    routes, template,
    validate::{Refusal, validate},
};

/// What every reconcile has at hand.
struct Context {
    client: Client,
    notes: Notes,
}

/// Runs until shutdown.
///
/// # Errors
/// None that is not retried.
pub fn run(client: Client, reconciles: Reconciles, shutdown: Triggered) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let services: Api<MeshService> = Api::all(client.clone());
        let (notes, writing) = Notes::new(client.clone(), "mesh-service", "");
        // A burst of changes to a service's instances is one reconcile.
        let config = Config::default().concurrency(8).debounce(Duration::from_millis(10));
        let controller = Controller::new(services.clone(), watcher::Config::default());
        // Only whose a slice is, is read here; its reconcile comes right after that of the instance, and is mostly one with it.
        let slices: Api<PartialObjectMeta<EndpointSlice>> = Api::all(client.clone());
        let ours = watcher::Config::default().labels(&our_slices());
        let (by_routes, by_nodes, by_tasks) = (controller.store(), controller.store(), controller.store());
        let stream = controller
            .with_config(config)
            .watches(Api::<MeshInstance>::all(client.clone()), watcher::Config::default(), |instance| service_of(&instance))
            .watches(Api::<MeshTask>::all(client.clone()), watcher::Config::default(), move |task| waiting(&by_tasks, &task))
            .watches(slices, ours, |slice| service_of_slice(&slice))
            .watches(services, watcher::Config::default(), move |changed| rivals(&by_routes, &changed))
            .watches(Api::<MeshNode>::all(client.clone()), watcher::Config::default(), move |_| concerned(&by_nodes, |_| true))
            .graceful_shutdown_on(shutdown)
            .run(reconcile, error_policy, Arc::new(Context { client, notes }));
        drive("mesh_service", stream, writing, &reconciles).await
    })
}

/// The service that an instance is a copy of. By name: one that has lost its owner is its service's concern as well.
fn service_of(instance: &MeshInstance) -> Option<ObjectRef<MeshService>> {
    let service = match &instance.spec.run {
        // A run of a task is no copy; a rollout may wait for it.
        Some(run) => run.before.as_deref()?,
        None => &instance.spec.service,
    };
    Some(ObjectRef::new(service).within(&instance.namespace()?))
}

/// The services whose rollouts wait for a task.
fn waiting(store: &Store<MeshService>, task: &MeshTask) -> Vec<ObjectRef<MeshService>> {
    let name = task.name_any();
    concerned(store, |service| {
        service.namespace() == task.namespace() && service.spec.rollout.before.as_ref().is_some_and(|before| before.task == name)
    })
}

/// The service that a slice is of.
fn service_of_slice(slice: &PartialObjectMeta<EndpointSlice>) -> Option<ObjectRef<MeshService>> {
    Some(ObjectRef::new(slice.labels().get(labels::SLICE_SERVICE)?).within(&slice.namespace()?))
}

/// The services whose routes a change of this one may free or take.
fn rivals(store: &Store<MeshService>, changed: &MeshService) -> Vec<ObjectRef<MeshService>> {
    let claims = routes::claims(&changed.spec);
    concerned(store, |other| other.uid() != changed.uid() && routes::concerns(other, &claims))
}

#[tracing::instrument(skip_all, fields(kind = "MeshService", namespace = service.namespace(), object = service.name_any()))]
async fn reconcile(service: Arc<MeshService>, context: Arc<Context>) -> Result<Action, Error> {
    let world = dereference::dereference(&context.client, &service).await?;
    let revision = template::revision(&service);
    if service.metadata.deletion_timestamp.is_some() {
        before::end(&context.client, &service).await?;
        return match apply::end(&context, &service, &world).await? {
            End::Waiting => update_status::update_status(&context, &service, &revision.name, None, None, &world).await,
            End::Released => Ok(Action::await_change()),
        };
    }
    let gate = Box::pin(before::look(&context.client, &service, &revision.name, &world)).await?;
    // What has to be done first is not done: what there is stays as it is, and is kept well.
    let current = if gate.is_some() { before::newest(&world) } else { Some(revision.clone()) };
    let planned = current.as_ref().map_or_else(|| Ok(rollout::Plan::default()), |current| plan(&service, &current.name, &world));
    let (plan, refusal) = match planned {
        Ok(plan) => (plan, None),
        Err(refusal) => (rollout::Plan::default(), Some(refusal)),
    };
    apply::apply(&context, &service, current.as_ref().unwrap_or(&revision), &plan, &world).await?;
    update_status::update_status(&context, &service, &revision.name, refusal.as_ref(), gate, &world).await
}

/// What to do, or why nothing is done. That no node is ready stands in the way only of what must be made: what runs, runs on.
fn plan(service: &MeshService, revision: &str, world: &World) -> Result<rollout::Plan, Refusal> {
    validate(&service.spec, world.nodes.backend())?;
    let existing: Vec<Existing> = world.instances.iter().map(|instance| existing(instance, &world.announced)).collect();
    let wanted = Wanted {
        revision,
        replicas: u32::try_from(service.spec.replicas).unwrap_or(0),
        type_: template::rollout_type(&service.spec, world.nodes.backend()),
        rollout: &service.spec.rollout,
    };
    match world.nodes.none() {
        Some(refusal) if rollout::lacks_instances(&wanted, &existing) => Err(refusal),
        _ => Ok(rollout::plan(&wanted, &existing)),
    }
}

fn existing(instance: &MeshInstance, announced: &Announced) -> Existing {
    let name = instance.name_any();
    debug_assert_eq!(name, names::instance(&instance.spec.service, &instance.spec.revision, instance.spec.ordinal));
    Existing {
        name,
        revision: instance.spec.revision.clone(),
        ordinal: instance.spec.ordinal,
        ready: announced.serves(instance),
        deleting: instance.metadata.deletion_timestamp.is_some(),
    }
}
