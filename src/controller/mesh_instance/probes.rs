//! Asks running programs whether they have started, are alive and are ready: a task per program, and one shared table of answers.
mod check;
mod prober;
pub(super) mod unknown;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures::Stream;
use kube::runtime::reflector::ObjectRef;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::{AbortHandle, JoinSet},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

use self::unknown::{Asked, UnknownProbes};
use mesh_api::{
    MeshInstance,
    conditions::{instance::READY, is_true},
    probe::Probe,
};
use mesh_backend::Backend;
use mesh_plan::{
    instance::{InstanceKey, Launch, Running},
    lifecycle::Health,
};

/// One run of a program, and how it is probed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    key: InstanceKey,
    object: ObjectRef<MeshInstance>,
    attempt: u32,
    address: Option<SocketAddr>,
    /// The port that `address` stands for, where that is another one: a container's.
    inside: Option<u16>,
    /// For `exec`.
    launch: Option<Arc<Launch>>,
    readiness: Option<Probe>,
    liveness: Option<Probe>,
    startup: Option<Probe>,
    /// It was ready when an agent before this one looked last: it stays so until a probe says otherwise, or a restart of the agent would take everything
    /// out of the routers.
    adopted_ready: bool,
}

/// Whether the status is about this very run, and says that it is ready.
fn was_ready(instance: &MeshInstance, running: &Running) -> bool {
    instance.status.as_ref().is_some_and(|status| {
        let same = status.pid == Some(running.pid.into()) && u32::try_from(status.restart_count) == Ok(running.attempt);
        same && is_true(&status.conditions, READY)
    })
}

impl Target {
    /// The run that was observed.
    pub(super) fn new(instance: &MeshInstance, key: &InstanceKey, running: &Running, launch: Option<Launch>, inside: Option<u16>) -> Self {
        let template = &instance.spec.template;
        Self {
            key: key.clone(),
            object: ObjectRef::from_obj(instance),
            attempt: running.attempt,
            address: running.address,
            inside,
            launch: launch.map(Arc::new),
            readiness: template.readiness_probe.clone(),
            liveness: template.liveness_probe.clone(),
            startup: template.startup_probe.clone(),
            adopted_ready: was_ready(instance, running),
        }
    }
}

/// All probers of the agent.
pub(super) struct Probers {
    backend: Backend,
    answers: Answers,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// Owns the tasks: they end with the agent.
    all: JoinSet<()>,
    by_uid: HashMap<String, (u32, AbortHandle)>,
}

/// The table of answers, and whom to tell of a new one.
#[derive(Clone)]
struct Answers {
    table: Arc<Mutex<HashMap<String, Health>>>,
    changed: UnboundedSender<ObjectRef<MeshInstance>>,
    unknown: UnknownProbes,
}

impl Answers {
    /// Takes note that nothing could be found out.
    fn unknown(&self, target: &Target, asked: Asked, why: &str) {
        tracing::warn!(instance = %target.key, ?asked, why, "a probe could not be made");
        self.unknown.count(asked);
        // The first one's words stand for all: it is the same cause for each, and would be told again and again.
        self.change(target, |health| {
            health.unknown.get_or_insert_with(|| format!("probes cannot be made, which is no fault of the instance: {why}"));
        });
    }

    /// Changes the answer about a run; tells if it is another one then.
    fn change(&self, target: &Target, change: impl FnOnce(&mut Health)) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(health) = table.get_mut(&target.key.uid).filter(|health| health.attempt == target.attempt) else { return };
        let before = health.clone();
        change(health);
        if *health != before {
            // The agent is gone only when the process ends.
            let _ = self.changed.send(target.object.clone());
        }
    }
}

impl Probers {
    /// None yet; and the stream of those whose answer has changed.
    pub(super) fn new(backend: Backend, unknown: UnknownProbes) -> (Self, impl Stream<Item = ObjectRef<MeshInstance>> + Send + 'static) {
        let (changed, stream) = mpsc::unbounded_channel();
        let answers = Answers { table: Arc::default(), changed, unknown };
        (Self { backend, answers, tasks: Mutex::default() }, UnboundedReceiverStream::new(stream))
    }

    /// Whether this run is probed.
    pub(super) fn has(&self, uid: &str, attempt: u32) -> bool {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).by_uid.get(uid).is_some_and(|(of, _)| *of == attempt)
    }

    /// Begins to probe a run; an earlier run of the same instance is probed no more.
    pub(super) fn start(&self, target: Target) {
        self.forget(&target.key.uid);
        let ready = target.adopted_ready;
        let health = Health { attempt: target.attempt, ready, was_ready: ready, ..Health::default() };
        self.answers.table.lock().unwrap_or_else(PoisonError::into_inner).insert(target.key.uid.clone(), health);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.all.try_join_next().is_some() {}
        let (uid, attempt) = (target.key.uid.clone(), target.attempt);
        let handle = tasks.all.spawn(prober::probe(target, self.backend.clone(), self.answers.clone()));
        tasks.by_uid.insert(uid, (attempt, handle));
    }

    /// What was found about an instance's current run.
    pub(super) fn health(&self, uid: &str) -> Health {
        self.answers.table.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }

    /// Probes an instance no more.
    pub(super) fn forget(&self, uid: &str) {
        if let Some((_, task)) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).by_uid.remove(uid) {
            task.abort();
        }
        self.answers.table.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
