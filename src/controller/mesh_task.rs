//! From a `MeshTask` to its runs: dereference → decide → apply → update_status. A run is a `MeshInstance` that comes to its end, so that backends, logs and
//! identity are those of any instance.
mod apply;
mod dereference;
pub mod metrics;
mod update_status;

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, future::BoxFuture};
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        Controller, WatchStreamExt,
        controller::{Action, Config},
        reflector::{self, ObjectRef, Store},
        watcher::{self, watcher},
    },
};
use tokio::sync::Mutex;

use self::{dereference::World, metrics::TaskMetrics};
use super::{Error, Reconciles, concerned, drive, error_policy, notes::Notes};
use mesh_api::{
    MeshInstance, MeshNode, MeshService, MeshServiceSpec, MeshTask,
    conditions::service::INVALID_SPEC,
    labels,
    task::{ConcurrencyPolicy, MeshTaskSpec},
};
use mesh_coordination::schedule::{self, Decision, Policy, Run, Schedule, State, decide};
use mesh_kit::{clock, shutdown::Triggered};
use mesh_plan::{task, validate::Refusal};

pub use self::apply::{Asked, NotMade, ask};
pub(crate) use self::dereference::service;
pub(crate) use self::update_status::{publish_status, ready};

/// A timer does not see that the clock is set, so the clock is looked at so often.
const LOOK: Duration = Duration::from_secs(60);

/// Held by whoever makes a run unless another goes on, from the look at the others until it is made. The controllers of tasks and of services, which make
/// such runs, are of one process: the leader's.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// What every reconcile has at hand.
struct Context {
    client: Client,
    notes: Notes,
    metrics: TaskMetrics,
}

/// Runs until shutdown.
///
/// # Errors
/// None that is not retried.
pub fn run(client: Client, reconciles: Reconciles, metrics: TaskMetrics, shutdown: Triggered) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let (notes, writing) = Notes::new(client.clone(), "mesh-task", "");
        let told = metrics.clone();
        let (tasks, changes) = watch_tasks(&client, move |gone| told.forget(gone));
        let (by_service, by_node) = (tasks.clone(), tasks.clone());
        let runs = watcher::Config::default().labels(labels::TASK);
        let stream = Controller::for_stream(changes, tasks)
            .with_config(Config::default().concurrency(8))
            .watches(Api::<MeshInstance>::all(client.clone()), runs, |run| task_of(&run))
            .watches(Api::<MeshService>::all(client.clone()), watcher::Config::default(), move |service| needing(&by_service, &service))
            .watches(Api::<MeshNode>::all(client.clone()), watcher::Config::default(), move |_| concerned(&by_node, |_| true))
            .graceful_shutdown_on(shutdown)
            .run(reconcile, error_policy, Arc::new(Context { client, notes, metrics }));
        drive("mesh_task", stream, writing, &reconciles).await
    })
}

/// The tasks themselves, and their changes; `gone` is told of each that is deleted.
pub(crate) fn watch_tasks<F>(client: &Client, gone: F) -> (Store<MeshTask>, impl Stream<Item = watcher::Result<MeshTask>> + use<F>)
where
    F: Fn(&MeshTask) + Send + 'static,
{
    let (tasks, writer) = reflector::store();
    let see = move |event: &watcher::Result<watcher::Event<MeshTask>>| {
        if let Ok(watcher::Event::Delete(task)) = event {
            gone(task);
        }
    };
    let events = watcher(Api::<MeshTask>::all(client.clone()), watcher::Config::default()).default_backoff().inspect(see);
    (tasks, events.reflect(writer).applied_objects())
}

/// The task that an instance is a run of.
fn task_of(run: &MeshInstance) -> Option<ObjectRef<MeshTask>> {
    Some(ObjectRef::new(&run.spec.run.as_ref()?.task).within(&run.namespace()?))
}

/// The tasks that need a service.
pub(crate) fn needing(store: &Store<MeshTask>, service: &MeshService) -> Vec<ObjectRef<MeshTask>> {
    let name = service.name_any();
    concerned(store, |task| task.namespace() == service.namespace() && task::service_of(task) == Some(name.as_str()))
}

#[tracing::instrument(skip_all, fields(kind = "MeshTask", namespace = task.namespace(), object = task.name_any()))]
async fn reconcile(task: Arc<MeshTask>, context: Arc<Context>) -> Result<Action, Error> {
    if task.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    // With Allow it does not matter what others make meanwhile.
    let turn = if task.spec.concurrency_policy == ConcurrencyPolicy::Allow { None } else { Some(TURN.lock().await) };
    let world = dereference::dereference(&context.client, &task).await?;
    let now = clock::now();
    let planned = plan(&task, &world, now);
    let done = apply::apply(&context, &task, &planned, &world).await?;
    drop(turn);
    update_status::update_status(&context, &task, &planned, &done, &world).await?;
    // What is removed from the history is handled for good by now.
    apply::prune(&context.client, &task, &world).await?;
    // A run that could not be started, and slots that come while one is ended, are looked at again soon.
    let wake = planned
        .decision()
        .and_then(|decision| decision.wake)
        .map(|wake| Duration::try_from(wake.duration_since(clock::now())).unwrap_or_default());
    Ok(Action::requeue(wake.map_or(LOOK, |wake| wake.min(LOOK))))
}

/// What there is to do for a task.
struct Planned {
    /// What runs, or why nothing can.
    program: Result<MeshServiceSpec, Refusal>,
    /// What becomes of its schedule, if it has one that can be kept.
    scheduled: Option<Scheduled>,
}

/// What becomes of a schedule.
struct Scheduled {
    /// The schedule with its zone, by which a change is seen.
    text: String,
    schedule: Schedule,
    decision: Decision,
    /// The next time that has not come yet.
    next: Option<Timestamp>,
}

impl Planned {
    fn decision(&self) -> Option<&Decision> {
        self.scheduled.as_ref().map(|scheduled| &scheduled.decision)
    }
}

fn plan(task: &MeshTask, world: &World, now: Timestamp) -> Planned {
    let (program, policy) = match policy(task) {
        Ok(policy) => (task::program(task, world.service.as_ref(), world.nodes.backend()), policy),
        Err(refusal) => (Err(refusal), None),
    };
    let program = program.and_then(|program| world.nodes.none().map_or(Ok(program), Err));
    // While nothing can run, slots wait: they are started or missed once it can, by their deadline.
    let scheduled = policy.filter(|_| program.is_ok()).map(|policy| {
        let text = schedule_text(&task.spec);
        let created = task.creation_timestamp().map_or(now, |time| time.0);
        let status = task.status.as_ref();
        let known = status.filter(|status| status.handled_schedule.is_some());
        let last_handled = match known.map(|status| (status.handled_schedule.as_deref(), status.handled_until.as_ref())) {
            None | Some((_, None)) => created,
            Some((known, Some(until))) if known == Some(&text) => until.0,
            // A new schedule says nothing of the past.
            Some(_) => now,
        };
        let decision = decide(&State { last_handled }, &policy, &runs(&world.runs), now);
        let next = policy.schedule.next_after(decision.last_handled.max(now));
        Scheduled { text, schedule: policy.schedule, decision, next }
    });
    Planned { program, scheduled }
}

/// What the spec says about its schedule; none if it has none.
pub(crate) fn policy(task: &MeshTask) -> Result<Option<Policy>, Refusal> {
    let spec = &task.spec;
    let Some(text) = &spec.schedule else { return Ok(None) };
    let refused = |error: schedule::Error| Refusal { reason: INVALID_SPEC, message: error.to_string() };
    let schedule = Schedule::parse(text, spec.time_zone.as_deref()).map_err(refused)?;
    spec.jitter.map_or(Ok(()), |jitter| schedule.check_jitter(jitter)).map_err(refused)?;
    let created = task.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Ok(Some(Policy {
        uid: task.uid().unwrap_or_default(),
        schedule: schedule.anchored_at(created),
        concurrency: match spec.concurrency_policy {
            ConcurrencyPolicy::Allow => schedule::ConcurrencyPolicy::Allow,
            ConcurrencyPolicy::Forbid => schedule::ConcurrencyPolicy::Forbid,
            ConcurrencyPolicy::Replace => schedule::ConcurrencyPolicy::Replace,
        },
        starting_deadline: spec.starting_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
        suspend: spec.suspend,
        jitter: spec.jitter.map(mesh_api::duration::Duration::get),
    }))
}

fn schedule_text(spec: &MeshTaskSpec) -> String {
    let schedule = spec.schedule.clone().unwrap_or_default();
    spec.time_zone.as_ref().map_or_else(|| schedule.clone(), |zone| format!("{schedule} {zone}"))
}

/// Runs as the schedule sees them: its own, and those that rollouts wait for. Those that somebody asked for do not count: they are beside it.
fn runs(runs: &[MeshInstance]) -> Vec<Run> {
    let counts = |run: &MeshInstance| {
        let of = run.spec.run.as_ref()?;
        let slot = of.scheduled_time.as_ref().map(|time| time.0);
        (slot.is_some() || of.before.is_some()).then(|| Run { name: run.name_any(), slot, finished: task::is_finished(run) })
    };
    runs.iter().filter_map(counts).collect()
}
