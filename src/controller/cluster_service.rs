//! From a `MeshService` to its objects in a cluster and back to its status: dereference → validate → plan → apply → update_status. The cluster runs the pods.
//! Reads come from caches only; nothing is written that is as it should be. Every replica of the controller watches, the leader writes.
mod before;
mod cache;
mod caches;
mod children;
mod dereference;
mod update_status;

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{self, BoxFuture},
    stream,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use self::{
    cache::{Group, Kept, watched},
    caches::{Caches, Changes, KINDS, Main, own_key, rivals, trim_mesh_service},
};
use super::{
    Error, Reconciles,
    children::{Applied, Memories, Owner, hash},
    drive, mesh_service,
    notes::Notes,
};
use mesh_api::{MeshService, labels};
use mesh_backend::kubernetes::render::{self, Door, Objects};
use mesh_kit::shutdown::Triggered;
use mesh_plan::validate::Refusal;

/// What the wiring decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the controllers and routers themselves.
    pub system_namespace: String,
    /// Namespace and name of the routers' drain Service; none, or one that is not there: pods end without asking.
    pub router_service: Option<(String, String)>,
    /// The image that has `/usr/local/bin/mesh-drain`; none: pods end without asking.
    pub drain_image: Option<String>,
    /// Where programs find the mesh; none: there is no agent.
    pub door: Option<Door>,
}

/// A rollout that waits for a task looks so often whether that was applied or changed; the end of its run is watched.
const HELD: Duration = Duration::from_secs(10);

/// What every reconcile has at hand.
struct Context {
    client: Client,
    notes: Notes,
    options: Options,
    caches: Caches,
    leading: watch::Receiver<bool>,
    memories: Memories,
}

/// Runs until shutdown. `leading` says whether this process may write; what it says too late, the client's own gate holds.
///
/// # Errors
/// None that is not retried.
pub fn run(
    client: Client,
    options: Options,
    leading: watch::Receiver<bool>,
    reconciles: Reconciles,
    shutdown: Triggered,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let memories = Memories::default();
        let main = watch_services(&client, memories.clone());
        let (caches, mut changes) = caches::open(&client, main, options.router_service.clone());
        let mut shutdown = Box::pin(future::FutureExt::shared(shutdown));
        tokio::select! {
            () = complete(&mut changes) => {}
            () = &mut shutdown => return Ok(()),
        }
        let (notes, writing) = Notes::new(client.clone(), "cluster-service", "");
        let services = caches.services.clone();
        let looks =
            changes.flat_map(|changed| stream::iter(changed.groups)).map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
        let elected = WatchStream::new(leading.clone()).filter(|leads| future::ready(*leads)).map(drop);
        let config = Config::default().concurrency(8).debounce(Duration::from_millis(20));
        let context = Arc::new(Context { client, notes, options, caches, leading, memories });
        let stream = Controller::for_stream(stream::pending::<Result<MeshService, watcher::Error>>(), services)
            .with_config(config)
            .reconcile_on(looks)
            .reconcile_all_on(elected)
            .graceful_shutdown_on(shutdown)
            .run(reconcile, error_policy, context);
        drive("cluster_service", stream, writing, &reconciles).await
    })
}

/// The services themselves: a change of one is looked at, and those whose routes it frees or takes.
fn watch_services(client: &Client, memories: Memories) -> Main {
    let (services, mut writer) = reflector::store();
    let all: Store<MeshService> = services.clone();
    let kept = Kept { which: watcher::Config::default(), trim: trim_mesh_service, groups: |service: &MeshService| vec![own_key(service)] };
    let concerns = move |old: Option<&MeshService>, new: Option<&MeshService>| -> Vec<Group> {
        if let Some(gone) = old.filter(|old| new.is_none_or(|new| new.uid() != old.uid())) {
            memories.forget(gone);
        }
        rivals(&all, old, new)
    };
    let (_, changes) = watched(Api::all(client.clone()), kept, move |event| writer.apply_watcher_event(event), concerns);
    Main { services, changes: Box::pin(changes) }
}

/// Waits until every kind has been listed: what is not known yet must not be taken for what is not there.
async fn complete(changes: &mut Changes) {
    let mut missing = KINDS;
    while missing > 0 {
        let Some(next) = changes.next().await else { return };
        missing -= usize::from(next.first);
    }
}

#[tracing::instrument(skip_all, fields(kind = "MeshService", namespace = service.namespace(), object = service.name_any()))]
async fn reconcile(service: Arc<MeshService>, context: Arc<Context>) -> Result<Action, Error> {
    if !*context.leading.borrow() {
        return Ok(Action::await_change());
    }
    context.memories.came_to(&*service, Box::pin(lead(&service, &context)).await)
}

async fn lead(service: &MeshService, context: &Context) -> Result<Action, Error> {
    let world = dereference::dereference(&context.caches, &context.options, service);
    let current = service.status.as_ref().and_then(|status| status.current_revision.clone()).unwrap_or_default();
    if service.metadata.deletion_timestamp.is_some() {
        return end(service, context, &current, &world).await;
    }
    let mut gate = None;
    let (revision, mut applied) = match plan(service, &world) {
        Ok(objects) => {
            let mut children = children::children(service, &objects, &context.caches, &world);
            gate = before::look(context, service, &objects.revision, &world).await?;
            if gate.is_some() {
                // What the task may need itself, the account above all, is there; the pods stay as they are.
                children.retain(|child| child.resource.kind != Deployment::kind(&()));
            }
            let owner = Owner {
                client: &context.client,
                notes: &context.notes,
                system_namespace: &context.options.system_namespace,
                object: service,
            };
            (objects.revision, owner.apply(&children, &context.memories).await?)
        }
        Err(refusal) => (current, Applied { refusal: Some(refusal), ..Applied::default() }),
    };
    if applied.quiet {
        return Ok(Action::await_change());
    }
    if gate.is_some() {
        applied.wake = applied.wake.into_iter().chain([HELD]).min();
    }
    update_status::update_status(context, service, &revision, &world, &applied, gate).await
}

/// What the service is to be made of. Where nothing would change but what the mesh gives its pods, they keep what they have: an older image of the drain hook, the
/// hook itself while the routers cannot be found, no word of an agent that is new. So a new release of the controller, or a router that is installed anew, rolls out no service.
fn plan(service: &MeshService, world: &dereference::World) -> Result<Objects, Refusal> {
    let objects = render::objects(service, &world.around)?;
    let Some(kept) = world.kept(service) else { return Ok(objects) };
    let as_it_is = render::objects(service, &kept)?;
    let is_all =
        world.deployment.as_ref().is_some_and(|live| live.annotations().get(labels::RENDERED) == Some(&hash(&as_it_is.deployment)));
    Ok(if is_all { as_it_is } else { objects })
}

/// A service that is deleted: its objects go with it, by their owner references. One that was made on a machine still has our finalizer.
async fn end(service: &MeshService, context: &Context, revision: &str, world: &dereference::World) -> Result<Action, Error> {
    if service.finalizers().iter().any(|name| name == labels::DRAIN_FINALIZER) {
        mesh_service::set_finalizer(&context.client, service, false).await?;
        return Ok(Action::await_change());
    }
    update_status::update_status(context, service, revision, world, &Applied::default(), None).await
}

#[expect(clippy::needless_pass_by_value, reason = "the driver's signature")]
fn error_policy(service: Arc<MeshService>, error: &Error, context: Arc<Context>) -> Action {
    context.memories.failed(&*service, error)
}
