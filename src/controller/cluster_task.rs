//! From a `MeshTask` to its `CronJob` in a cluster, and from its Jobs back to its status: dereference → plan → apply → update_status. The cluster keeps the
//! schedule and runs the pods. Every replica of the controller watches, the leader writes; nothing is written that is as it should be.
mod ask;
mod dereference;
mod update_status;

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{self, BoxFuture},
};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DeleteParams,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::ObjectRef,
        watcher,
    },
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use self::dereference::World;
use super::{
    Error, Reconciles,
    children::{Applied, Memories, Owner, child, is_of},
    cluster_service::Options,
    drive,
    mesh_task::{metrics::TaskMetrics, needing, policy, watch_tasks},
    notes::Notes,
    writes,
};
use mesh_api::{MeshService, MeshTask, labels};
use mesh_backend::kubernetes::{
    render::{Door, task as render},
    status::task as status,
};
use mesh_coordination::schedule::Schedule;
use mesh_kit::shutdown::Triggered;
use mesh_plan::{task, validate::Refusal};

pub use self::ask::ask;

/// What every reconcile has at hand.
struct Context {
    client: Client,
    notes: Notes,
    options: Options,
    leading: watch::Receiver<bool>,
    metrics: TaskMetrics,
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
    metrics: TaskMetrics,
    shutdown: Triggered,
) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let (notes, writing) = Notes::new(client.clone(), "cluster-task", "");
        let ours = watcher::Config::default().labels(labels::TASK);
        let memories = Memories::default();
        let (forgotten, told) = (memories.clone(), metrics.clone());
        let (tasks, changes) = watch_tasks(&client, move |gone| {
            forgotten.forget(gone);
            told.forget(gone);
        });
        let by_service = tasks.clone();
        let elected = WatchStream::new(leading.clone()).filter(|leads| future::ready(*leads)).map(drop);
        let context = Context { client: client.clone(), notes, options, leading, metrics, memories };
        let stream = Controller::for_stream(changes, tasks)
            .with_config(Config::default().concurrency(8).debounce(Duration::from_millis(20)))
            .watches(Api::<CronJob>::all(client.clone()), ours.clone(), |cron_job| task_of(&cron_job))
            .watches(Api::<Job>::all(client.clone()), ours.clone(), |job| task_of(&job))
            .watches(Api::<Pod>::all(client.clone()), ours, |pod| task_of(&pod))
            .watches(Api::<MeshService>::all(client), watcher::Config::default(), move |service| needing(&by_service, &service))
            .reconcile_all_on(elected)
            .graceful_shutdown_on(shutdown)
            .run(reconcile, error_policy, Arc::new(context));
        drive("cluster_task", stream, writing, &reconciles).await
    })
}

/// The task that an object belongs to.
fn task_of(object: &impl Resource) -> Option<ObjectRef<MeshTask>> {
    Some(ObjectRef::new(object.labels().get(labels::TASK)?).within(&object.namespace()?))
}

#[tracing::instrument(skip_all, fields(kind = "MeshTask", namespace = task.namespace(), object = task.name_any()))]
async fn reconcile(task: Arc<MeshTask>, context: Arc<Context>) -> Result<Action, Error> {
    if !*context.leading.borrow() {
        return Ok(Action::await_change());
    }
    if task.metadata.deletion_timestamp.is_some() {
        // What it owns goes with it.
        return Ok(Action::await_change());
    }
    context.memories.came_to(&*task, Box::pin(lead(&task, &context)).await)
}

async fn lead(task: &MeshTask, context: &Context) -> Result<Action, Error> {
    let world = dereference::dereference(&context.client, task).await?;
    let planned = plan(task, &world, context.options.door.as_ref());
    let applied = match &planned {
        Ok(planned) => apply(context, task, planned, &world).await?,
        Err(refusal) => Applied { refusal: Some(refusal.clone()), ..Applied::default() },
    };
    if applied.quiet {
        return Ok(Action::await_change());
    }
    let schedule = planned.ok().and_then(|planned| planned.schedule);
    let next = update_status::update_status(context, task, schedule.as_ref(), &applied, &world).await?;
    prune(&context.client, task, &world).await?;
    Ok(next.into_iter().chain(applied.wake).min().map_or_else(Action::await_change, Action::requeue))
}

/// What a task is to be made of.
struct Planned {
    objects: render::Objects,
    schedule: Option<Schedule>,
}

fn plan(task: &MeshTask, world: &World, door: Option<&Door>) -> Result<Planned, Refusal> {
    let policy = policy(task)?;
    let objects = render::objects(task, world.service.as_ref(), door)?;
    // Intervals count from the CronJob's first moment, as its controller counts them.
    let begun = world.cron_job.as_ref().and_then(ResourceExt::creation_timestamp);
    let schedule = policy.map(|policy| begun.map_or(policy.schedule.clone(), |begun| policy.schedule.anchored_at(begun.0)));
    Ok(Planned { objects, schedule })
}

async fn apply(context: &Context, task: &MeshTask, planned: &Planned, world: &World) -> Result<Applied, Error> {
    let owner = Owner { client: &context.client, notes: &context.notes, system_namespace: &context.options.system_namespace, object: task };
    let cron_job = child::<CronJob>(task, &task.name_any(), planned.objects.cron_job.as_ref(), world.cron_job.as_ref());
    owner.apply(&[cron_job], &context.memories).await
}

/// Removes finished runs that were asked for, beyond as many as the spec keeps; those of the schedule the cluster removes by the same limits.
async fn prune(client: &Client, task: &MeshTask, world: &World) -> Result<(), Error> {
    let jobs: Api<Job> = Api::namespaced(client.clone(), &task.namespace().unwrap_or_default());
    let asked: Vec<Job> = world.jobs.iter().filter(|job| is_of(*job, task)).cloned().collect();
    for old in task::surplus(task, &asked, status::standing) {
        writes::delete(&jobs, &old.name_any(), &DeleteParams::background(), "delete the Job of MeshTask").await?;
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the driver's signature")]
fn error_policy(task: Arc<MeshTask>, error: &Error, context: Arc<Context>) -> Action {
    context.memories.failed(&*task, error)
}
